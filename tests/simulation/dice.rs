//! Chance from one seed. Each thing that is left to chance has dice of its own, named by what it is
//! about, so that leaving one workflow out does not change the luck of the others.

/// A small generator (SplitMix64): every sequence is fixed by where it starts.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice for one purpose under a seed.
    pub fn of(seed: u64, purpose: &[u64]) -> Dice {
        let mut state = seed;
        for part in purpose {
            state = scatter(state ^ scatter(part.wrapping_add(0x9E37_79B9_7F4A_7C15)));
        }
        Dice(state)
    }

    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scatter(self.0)
    }

    /// From 0 to `most`, without `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.any() % most.max(1)
    }

    /// From `least` to `most`, both within.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Small numbers often, large ones seldom: the order of magnitude is what is drawn.
    pub fn span(&mut self, least: u64, most: u64) -> u64 {
        let doublings = (most / least.max(1)).max(1).ilog2();
        let high = (least.max(1) << self.below(u64::from(doublings) + 1)).min(most);
        self.between(least, high.max(least))
    }
}

fn scatter(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
