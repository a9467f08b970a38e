//! The layers around a paid call, each alone.

#[cfg(feature = "budget")]
mod budget;
#[cfg(feature = "pace")]
mod pace;
#[cfg(feature = "retry")]
mod retry;
