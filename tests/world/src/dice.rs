//! Chance: from a seed, or from the bytes of a fuzzer.

use std::time::Duration;

/// Tells the source that is drawn from aside. Any number would do; with this one, the worlds of the
/// seeds that are named in the tests have none of what came later.
const ASIDE: u64 = 7;

/// The source of all random numbers of a world. The same source repeats the same world.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
    /// Bytes that decide for as long as there are any.
    bytes: Vec<u8>,
    taken: usize,
    /// Leaves nothing to chance.
    loaded: bool,
}

impl Dice {
    /// Chance from a seed; any seed is good.
    pub const fn seeded(seed: u64) -> Self {
        Self { state: seed, bytes: Vec::new(), taken: 0, loaded: false }
    }

    /// Chance from bytes: each small decision takes one of them. When they are used up, it goes on
    /// as from a seed.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { state: 0, bytes: bytes.to_vec(), taken: 0, loaded: false }
    }

    /// No chance: of several numbers always the highest. So what takes up to a second takes a second,
    /// and what does not happen in each case does not happen.
    pub const fn loaded() -> Self {
        Self { state: 0, bytes: Vec::new(), taken: 0, loaded: true }
    }

    /// A source of its own, from the same seed or bytes: what is decided by it changes nothing of
    /// what is decided by this one.
    pub(crate) fn aside(&self) -> Self {
        if self.loaded {
            return Self::loaded();
        }
        let mix = |word: u64, byte: &u8| (word ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let mut other = Self::seeded(ASIDE ^ self.bytes.iter().fold(self.state, mix));
        Self::seeded(other.draw())
    }

    /// The generator of Steele, Lea and Flood (2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn take(&mut self, count: usize) -> Option<u64> {
        let bytes = self.bytes.get(self.taken..self.taken + count)?;
        self.taken += count;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if self.loaded {
            return bound - 1;
        }
        let count = if bound <= 256 { 1 } else { 4 };
        if let Some(number) = self.take(count) {
            return number % bound;
        }
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.take(8).unwrap_or_else(|| self.draw())
    }

    /// Whether something happens that does so in this many cases of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several, of which there is at least one.
    pub fn choose<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize]
    }

    /// The index of one of this many, if there is any.
    pub(crate) fn index(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.below(count as u64) as usize)
    }

    /// From zero to `most`, in microseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(most.as_micros() as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_as_long_as_there_are_any() {
        let mut dice = Dice::from_bytes(&[3, 250, 0, 0, 1, 0]);
        assert_eq!((dice.below(10), dice.below(7)), (3, 250 % 7));
        assert_eq!(dice.below(1000), 256);
        assert!(dice.below(1000) < 1000, "and then it goes on");
    }

    #[test]
    fn loaded_dice_leave_nothing_to_chance() {
        for dice in &mut [Dice::loaded(), Dice::loaded().aside()] {
            assert_eq!((dice.below(10), dice.choose(&[1, 2])), (9, 2));
            assert_eq!(dice.up_to(Duration::from_secs(1)), Duration::from_secs(1));
            assert!(!dice.chance(99) && dice.chance(100));
            assert_ne!(dice.number(), dice.number(), "two seeds");
        }
    }

    #[test]
    fn a_seed_repeats_its_numbers() {
        let numbers = |seed| {
            let mut dice = Dice::seeded(seed);
            std::array::from_fn::<_, 8, _>(|_| dice.below(1 << 40))
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn what_is_drawn_aside_depends_on_the_source_and_leaves_it_alone() {
        let number = |dice: &Dice| dice.aside().below(1 << 40);
        assert_eq!(number(&Dice::seeded(7)), number(&Dice::seeded(7)));
        assert_ne!(number(&Dice::seeded(7)), number(&Dice::seeded(8)));
        assert_ne!(number(&Dice::from_bytes(b"a")), number(&Dice::from_bytes(b"b")));
        assert_ne!(number(&Dice::seeded(7)), Dice::seeded(7).below(1 << 40));
    }
}
