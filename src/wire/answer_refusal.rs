//! Why a client does not answer a question.

use core::fmt;

/// Why a client does not answer a question, if the reason has a number (protocol §10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum AnswerRefusal {
    /// Its handler failed, without details.
    Failed,
    /// It has no handler for questions.
    NoHandler,
    /// It works on as many questions as it has stated.
    Busy,
    /// The answer is longer than the server reads.
    TooLarge,
}

impl AnswerRefusal {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Failed, Self::NoHandler, Self::Busy, Self::TooLarge];

    /// Returns the number of the reason.
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// Returns the reason with this number. An unknown one is a failure without details.
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::NoHandler,
            2 => Self::Busy,
            3 => Self::TooLarge,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for AnswerRefusal {
    /// The reason, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failed => "failed",
            Self::NoHandler => "no handler for questions",
            Self::Busy => "busy with other questions",
            Self::TooLarge => "the answer is too large",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_back_from_their_numbers_and_unknown_ones_are_failures() {
        for (number, refusal) in (0..).zip(AnswerRefusal::ALL) {
            assert_eq!(refusal.as_byte(), number);
            assert_eq!(AnswerRefusal::from_byte(number), refusal);
        }
        assert_eq!(AnswerRefusal::from_byte(4), AnswerRefusal::Failed);
        assert_eq!(AnswerRefusal::from_byte(255), AnswerRefusal::Failed);
    }
}
