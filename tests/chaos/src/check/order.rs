//! Whether there is one order in which all saw what they saw.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Op;

/// What came directly before what, for some observer.
#[derive(Debug, Default)]
pub(super) struct Order {
    after: BTreeMap<Op, BTreeSet<Op>>,
}

impl Order {
    /// Notes that an observer saw these, in this order.
    pub(super) fn saw(&mut self, seen: &[Op]) {
        for pair in seen.windows(2) {
            if pair[0] != pair[1] {
                self.after.entry(pair[0]).or_default().insert(pair[1]);
                self.after.entry(pair[1]).or_default();
            }
        }
    }

    /// Returns some that are before each other, in a circle. `None` if there is one order of all.
    pub(super) fn contradiction(&self) -> Option<Vec<Op>> {
        let mut before: BTreeMap<Op, usize> = self.after.keys().map(|op| (*op, 0)).collect();
        for next in self.after.values().flatten() {
            *before.entry(*next).or_default() += 1;
        }
        let mut first: Vec<Op> =
            before.iter().filter(|(_, count)| **count == 0).map(|(op, _)| *op).collect();
        while let Some(op) = first.pop() {
            before.remove(&op);
            for next in &self.after[&op] {
                let count = before.get_mut(next)?;
                *count -= 1;
                if *count == 0 {
                    first.push(*next);
                }
            }
        }
        // What is left is on a circle, or behind one. Backwards from any of them, one comes into it.
        let mut path = vec![*before.keys().next()?];
        loop {
            let last = path[path.len() - 1];
            let previous = before.keys().copied().find(|op| self.after[op].contains(&last))?;
            if let Some(start) = path.iter().position(|op| *op == previous) {
                let mut circle = path.split_off(start);
                circle.reverse();
                return Some(circle);
            }
            path.push(previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(numbers: &[u32]) -> Vec<Op> {
        numbers.iter().map(|number| Op::new(0, *number)).collect()
    }

    fn contradiction(seen: &[&[u32]]) -> Option<usize> {
        let mut order = Order::default();
        seen.iter().for_each(|seen| order.saw(&ops(seen)));
        order.contradiction().map(|circle| circle.len())
    }

    #[test]
    fn observers_may_miss_some_but_not_see_them_the_other_way_round() {
        assert_eq!(contradiction(&[]), None);
        assert_eq!(contradiction(&[&[1, 2, 3, 4], &[1, 3], &[2, 4], &[4]]), None);
        assert_eq!(contradiction(&[&[1, 2, 3, 4], &[1, 3, 2]]), Some(2));
        assert_eq!(contradiction(&[&[1, 2], &[2, 3], &[3, 1, 9], &[7, 1]]), Some(3));
        assert_eq!(contradiction(&[&[1, 1, 2]]), None);
    }
}
