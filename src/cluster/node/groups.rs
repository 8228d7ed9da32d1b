//! The groups that a node follows.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// The groups with members on this node, and those that the engine has still to be told about.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: BTreeMap<String, Group>,
    /// Those that may need a question.
    open: BTreeSet<String>,
    /// How many questions the engine has not answered.
    pub(super) asked: usize,
}

#[derive(Debug)]
struct Group {
    has_members: bool,
    /// Whether the engine has this node follow it, if that is known.
    followed: Option<bool>,
    is_asked: bool,
}

impl Groups {
    /// Records whether a group has members here.
    pub(super) fn set(&mut self, name: String, has_members: bool) {
        let none = Group { has_members, followed: Some(false), is_asked: false };
        self.all.entry(name.clone()).or_insert(none).has_members = has_members;
        self.open.insert(name);
    }

    /// Returns what to ask next: whether to follow a group.
    pub(super) fn next(&mut self) -> Option<(String, bool)> {
        while let Some(name) = self.open.pop_first() {
            let Some(group) = self.all.get_mut(&name) else { continue };
            if group.is_asked {
                continue;
            }
            if group.followed != Some(group.has_members) {
                group.is_asked = true;
                self.asked += 1;
                return Some((name, group.has_members));
            }
            if !group.has_members {
                self.all.remove(&name);
            }
        }
        None
    }

    /// Records an answer of the engine, or that there was none.
    pub(super) fn answered(&mut self, name: String, follow: bool, is_done: bool) {
        let Some(group) = self.all.get_mut(&name) else { return };
        group.is_asked = false;
        group.followed = is_done.then_some(follow);
        self.asked -= 1;
        self.open.insert(name);
    }

    /// Records that the engine cannot do that. It is asked again when it is told of all groups.
    pub(super) fn refused(&mut self, name: String, follow: bool) {
        let Some(group) = self.all.get_mut(&name) else { return };
        (group.is_asked, group.followed) = (false, None);
        self.asked -= 1;
        if group.has_members != follow {
            self.open.insert(name);
        } else if !group.has_members {
            // Messages to it find nobody here, if there are any.
            self.all.remove(&name);
        }
    }

    /// Has all groups told again: the engine may have lost some, or have been told late.
    pub(super) fn tell_again(&mut self) {
        for (name, group) in &mut self.all {
            group.followed = None;
            self.open.insert(name.clone());
        }
    }

    /// A run of the node has ended, and all that it has asked for with it.
    pub(super) fn restart(&mut self) {
        self.asked = 0;
        self.all.retain(|_, group| group.has_members);
        for group in self.all.values_mut() {
            (group.followed, group.is_asked) = (Some(false), false);
        }
        self.open = self.all.keys().cloned().collect::<Vec<_>>().into_iter().collect();
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
