//! Contenders measured in turns, so that whatever else the machine does meets all of them.

/// One contender: a name, and one round of its measurement, which gives `N` figures.
pub struct Entry<'a, const N: usize> {
    pub name: &'static str,
    pub round: Box<dyn FnMut() -> [f64; N] + 'a>,
}

pub fn entry<'a, const N: usize>(name: &'static str, round: impl FnMut() -> [f64; N] + 'a) -> Entry<'a, N> {
    Entry { name, round: Box::new(round) }
}

/// What one contender's rounds gave.
pub struct Samples<const N: usize> {
    pub name: &'static str,
    rounds: Vec<[f64; N]>,
}

/// Runs `rounds` rounds of each contender, and one before that is not counted. Each round begins with another one.
pub fn alternate<const N: usize>(rounds: usize, mut entries: Vec<Entry<'_, N>>) -> Vec<Samples<N>> {
    for entry in &mut entries {
        (entry.round)();
    }
    let mut samples: Vec<_> = entries.iter().map(|entry| Samples { name: entry.name, rounds: Vec::new() }).collect();
    for first in 0..rounds {
        for turn in 0..entries.len() {
            let index = (first + turn) % entries.len();
            samples[index].rounds.push((entries[index].round)());
        }
    }
    samples
}

impl<const N: usize> Samples<N> {
    /// The median over the rounds of figure number `figure`.
    pub fn median(&self, figure: usize) -> f64 {
        median(self.rounds.iter().map(|round| round[figure]))
    }

    pub fn best(&self, figure: usize) -> f64 {
        self.rounds.iter().map(|round| round[figure]).fold(f64::INFINITY, f64::min)
    }

    pub fn worst(&self, figure: usize) -> f64 {
        self.rounds.iter().map(|round| round[figure]).fold(0.0, f64::max)
    }

    /// How many times as large as `base`'s figure this one's is: the median of what each round says.
    pub fn ratio(&self, base: &Self, figure: usize) -> f64 {
        median(self.rounds.iter().zip(&base.rounds).map(|(mine, base)| mine[figure] / base[figure]))
    }

    /// The same between two figures of this one.
    pub fn share(&self, figure: usize, base: usize) -> f64 {
        median(self.rounds.iter().map(|round| round[figure] / round[base]))
    }
}

/// The middle of `values`, of which there is one at least.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
