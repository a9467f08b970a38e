//! Planting faults, to see that the model checks notice them.
//!
//! Each room lists its own faults with [`faults!`], and names each at the step that it breaks, first on the line, with
//! one of three macros. Outside the model checker, each of them is the plain step or condition.

/// A list of faults, which are identified by name.
pub(crate) trait Faults: Copy {
    #[cfg(sync_coalesce_shuttle)]
    fn name(self) -> &'static str;
}

/// Declares the faults of one room. Faults that a model plants by itself, not at a step, exist only under the model
/// checker.
macro_rules! faults {
    (
        $(#[$about:meta])*
        $visibility:vis enum $list:ident { $($(#[doc = $fault_about:literal])* $(#[cfg($only:meta)])? $fault:ident,)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        $visibility enum $list {
            $($(#[doc = $fault_about])* $(#[cfg($only)])? $fault,)*
        }

        impl $crate::sync::Faults for $list {
            #[cfg(sync_coalesce_shuttle)]
            fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => stringify!($fault),)*
                }
            }
        }
    };
}

/// A step, which is left out where the fault is planted.
macro_rules! step {
    ($fault:ident, $step:expr) => {
        if !$crate::sync::is_planted(Fault::$fault) {
            $step;
        }
    };
}

/// A condition, which is false where the fault is planted.
macro_rules! only_if {
    ($fault:ident, $condition:expr) => {
        $condition && !$crate::sync::is_planted(Fault::$fault)
    };
}

/// A condition, which is true where the fault is planted.
macro_rules! also_if {
    ($fault:ident, $condition:expr) => {
        $condition || $crate::sync::is_planted(Fault::$fault)
    };
}

pub(crate) use {also_if, faults, only_if, step};

/// Whether this fault is planted. Never outside a model check, so nothing of it is left in a build.
#[cfg(not(sync_coalesce_shuttle))]
#[inline]
pub(crate) const fn is_planted<F: Faults>(_: F) -> bool {
    false
}

#[cfg(sync_coalesce_shuttle)]
pub(crate) use super::checked::is_planted;
