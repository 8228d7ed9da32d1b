//! Messages that are almost right, from a seed.

/// The generator of Steele, Lea and Flood (2014): any seed is good.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * bound as u128) >> 64) as usize
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    pub(crate) fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// The types of all versions.
const TYPES: [u8; 22] =
    [0, 1, 2, 3, 4, 5, 6, 21, 22, 23, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 193];

/// One way to change a message.
#[derive(Clone, Copy)]
enum Mutation {
    FlipBit,
    ReplaceByte,
    /// Mostly to one of the protocol's.
    ChangeType,
    /// To what is there, one more or one less, or the extremes.
    ChangeLength,
    Truncate,
    /// To about as long as the shortest messages are.
    TruncateToHeader,
    Append,
    Insert,
    Remove,
    /// The beginning of this one, and the end of another.
    Splice,
}

/// Lengths are where parsers go wrong.
const MUTATIONS: [Mutation; 11] = [
    Mutation::FlipBit,
    Mutation::ReplaceByte,
    Mutation::ChangeType,
    Mutation::ChangeLength,
    Mutation::ChangeLength,
    Mutation::Truncate,
    Mutation::TruncateToHeader,
    Mutation::Append,
    Mutation::Insert,
    Mutation::Remove,
    Mutation::Splice,
];

/// One of `seeds`, changed one to four times. It may be empty, or longer than any of them.
pub(crate) fn message(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut message = dice.choose(seeds).clone();
    for _ in 0..=dice.below(4) {
        let mutation = *dice.choose(&MUTATIONS);
        mutation.change(dice, &mut message, seeds);
    }
    message
}

impl Mutation {
    fn change(self, dice: &mut Dice, message: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let length = message.len();
        let (place, gap) = (dice.below(length.max(1)), dice.below(length + 1));
        match self {
            Self::FlipBit => {
                let bit = dice.below(8);
                set(message, place, |byte| byte ^ (1 << bit));
            }
            Self::ReplaceByte => set(message, place, |_| dice.byte()),
            Self::ChangeType => {
                let odd = dice.below(8) == 0;
                set(message, 0, |_| if odd { dice.byte() } else { *dice.choose(&TYPES) });
            }
            Self::ChangeLength => {
                let at = *dice.choose(&[1, 9]);
                let rest = length.saturating_sub(at + 1) as u8;
                let lengths =
                    [0, 1, 2, 255, rest, rest.wrapping_sub(1), rest.wrapping_add(1), rest / 2];
                set(message, at, |_| *dice.choose(&lengths));
            }
            Self::Truncate => message.truncate(gap),
            Self::TruncateToHeader => message.truncate(dice.below(14)),
            Self::Append => (0..=dice.below(3)).for_each(|_| message.push(dice.byte())),
            Self::Insert => message.insert(gap, dice.byte()),
            Self::Remove => drop(message.drain(gap..gap + dice.below((length - gap).min(8) + 1))),
            Self::Splice => {
                message.truncate(gap);
                let other = dice.choose(seeds);
                message.extend(&other[dice.below(other.len() + 1)..]);
            }
        }
    }
}

/// Changes the byte at a position, if there is one.
fn set(message: &mut [u8], at: usize, to: impl FnOnce(u8) -> u8) {
    if let Some(byte) = message.get_mut(at) {
        *byte = to(*byte);
    }
}
