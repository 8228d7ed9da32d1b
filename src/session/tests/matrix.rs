//! Every command in every state of a key.

use super::*;

/// In which state a key is before the command. Connections 1 and 2 got it there, 9 is a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Unknown,
    /// 1 holds it.
    Held,
    /// 1 and 2 hold it.
    Shared,
    /// 1 restores it.
    LookingUp,
    /// 1 restored it and left, the store has not answered.
    LookingUpForNobody,
    /// 1 created it.
    Storing,
    /// 1 created it durably.
    StoringDurably,
    /// 1 created it durably and left.
    StoringForNobody,
    /// 1 created it and closed it.
    StoringClosed,
    /// 1 held it and closed it while 2 restored it.
    AwaitingLookups,
    /// 1 held it and closed it.
    Destroying,
    /// It was closed by key.
    DestroyingForNobody,
}

impl Before {
    const ALL: [Self; 12] = [
        Self::Unknown,
        Self::Held,
        Self::Shared,
        Self::LookingUp,
        Self::LookingUpForNobody,
        Self::Storing,
        Self::StoringDurably,
        Self::StoringForNobody,
        Self::StoringClosed,
        Self::AwaitingLookups,
        Self::Destroying,
        Self::DestroyingForNobody,
    ];

    fn desk(self) -> Desk {
        let durable = matches!(self, Self::StoringDurably | Self::StoringForNobody);
        let mut desk = Desk::with(RegistryConfig { max_connections: None, durable });
        let registry = &mut desk.registry;
        let (one, two) = (ConnectionId(1), ConnectionId(2));
        let restore = || Command::Restore(key("k"));
        let mut handle = |from, command| {
            registry.handle(from, command, &mut desk.out);
            let (mut ticket, mut last) = (None, None);
            while let Some(effect) = desk.out.pop() {
                if let Effect::Lookup { ticket: asked, .. } = effect {
                    ticket = Some(asked);
                }
                last = Some(effect);
            }
            (ticket, last)
        };
        match self {
            Self::Unknown => {}
            Self::Held | Self::Shared | Self::AwaitingLookups | Self::Destroying => {
                let ticket = handle(one, restore()).0.unwrap();
                let other = match self {
                    Self::Shared | Self::AwaitingLookups => handle(two, restore()).0,
                    _ => None,
                };
                desk.registry.looked_up(ticket, Ok(Some(session("k"))), &mut desk.out);
                if let Some(ticket) = other.filter(|_| self == Self::Shared) {
                    desk.registry.looked_up(ticket, Ok(Some(session("k"))), &mut desk.out);
                }
                if matches!(self, Self::AwaitingLookups | Self::Destroying) {
                    desk.registry.handle(one, Command::Close(key("k")), &mut desk.out);
                }
            }
            Self::LookingUp => drop(handle(one, restore())),
            Self::LookingUpForNobody => {
                handle(one, restore());
                handle(one, Command::Leave(key("k")));
            }
            Self::Storing | Self::StoringDurably => {
                drop(handle(one, Command::Create(session("k"))));
            }
            Self::StoringForNobody => {
                handle(one, Command::Create(session("k")));
                handle(one, Command::Leave(key("k")));
            }
            Self::StoringClosed => {
                handle(one, Command::Create(session("k")));
                handle(one, Command::Close(key("k")));
            }
            Self::DestroyingForNobody => {
                desk.registry.close_key(key("k"), false, &mut desk.out);
            }
        }
        desk.effects();
        desk.tickets.clear();
        desk
    }
}

/// What is asked for, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Restore,
    Create,
    Close,
    Leave,
    /// By 1, which plays its part in the state.
    CloseOwn,
    LeaveOwn,
    CloseKey,
}

impl Asked {
    const ALL: [Self; 7] = [
        Self::Restore,
        Self::Create,
        Self::Close,
        Self::Leave,
        Self::CloseOwn,
        Self::LeaveOwn,
        Self::CloseKey,
    ];

    fn of(self, desk: &mut Desk) {
        let (from, command) = match self {
            Self::Restore => (9, Command::Restore(key("k"))),
            Self::Create => (9, Command::Create(session("k"))),
            Self::Close => (9, Command::Close(key("k"))),
            Self::Leave => (9, Command::Leave(key("k"))),
            Self::CloseOwn => (1, Command::Close(key("k"))),
            Self::LeaveOwn => (1, Command::Leave(key("k"))),
            Self::CloseKey => {
                desk.registry.close_key(key("k"), true, &mut desk.out);
                return;
            }
        };
        desk.registry.handle(ConnectionId(from), command, &mut desk.out);
    }
}

/// What a command causes, and which connections hold the session afterwards.
fn expected(before: Before, asked: Asked) -> (&'static [&'static str], &'static [u64]) {
    use Asked::*;
    use Before::*;

    let holders: &[u64] = match (before, asked) {
        (Unknown, Create) => &[9],
        (Held | Storing, CloseOwn | LeaveOwn | CloseKey) => &[],
        (Held | Storing, _) => &[1],
        (Shared, CloseOwn | LeaveOwn) => &[2],
        (Shared, CloseKey) => &[],
        (Shared, _) => &[1, 2],
        _ => &[],
    };
    let effects: &[&str] = match (before, asked) {
        (_, Leave | LeaveOwn) => &[],

        (Unknown | Held | Shared | LookingUp | LookingUpForNobody, Restore) => &["ask 1 lookup k"],
        (Storing | StoringDurably | StoringForNobody, Restore) => &[],
        (StoringClosed | AwaitingLookups | Destroying | DestroyingForNobody, Restore) => {
            &["tell 9 k NotFound"]
        }

        (Unknown, Create) => &["tell 9 k Created", "ask 1 store k"],
        (_, Create) => &["tell 9 k CreateFailed"],

        (_, Close) => &["tell 9 k Detached"],
        (Held, CloseOwn) => &["ask 1 destroy k"],
        (Storing, CloseOwn) => &[],
        (_, CloseOwn) => &["tell 1 k Detached"],

        (Unknown, CloseKey) => &["ask 1 destroy k"],
        (Held, CloseKey) => &["tell 1 k ClosedByKey { disconnect: true }", "ask 1 destroy k"],
        (Shared, CloseKey) => &[
            "tell 1 k ClosedByKey { disconnect: true }",
            "tell 2 k ClosedByKey { disconnect: true }",
            "ask 1 destroy k",
        ],
        (LookingUp, CloseKey) => &["tell 1 k NotFound"],
        (Storing | StoringClosed | AwaitingLookups | Destroying, CloseKey) => {
            &["tell 1 k ClosedByKey { disconnect: true }"]
        }
        (LookingUpForNobody | StoringDurably | StoringForNobody, CloseKey) => &[],
        (DestroyingForNobody, CloseKey) => &[],
    };
    (effects, holders)
}

#[test]
fn every_command_in_every_state() {
    for before in Before::ALL {
        for asked in Asked::ALL {
            let mut desk = before.desk();
            asked.of(&mut desk);
            let (effects, holders) = expected(before, asked);
            assert_eq!(desk.effects(), effects, "{asked:?} when {before:?}");
            assert_eq!(desk.holders("k"), holders, "after {asked:?} when {before:?}");
        }
    }
}

#[test]
fn a_session_that_was_closed_is_closing_until_the_store_has_destroyed_it() {
    use Before::*;

    for before in Before::ALL {
        let registry = before.desk().registry;
        let closing = [StoringClosed, AwaitingLookups, Destroying, DestroyingForNobody];
        assert_eq!(registry.is_closing(&key("k")), closing.contains(&before), "{before:?}");
        assert!(!registry.is_closing(&key("other")));
    }
}
