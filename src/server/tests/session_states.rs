//! Everything that can happen in every state of a connection's session.

use alloc::boxed::Box;

use super::*;

/// In which state the session is before. Its key is `k1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Empty,
    /// The client asked for it with identifier 99.
    Restoring,
    /// The application created it.
    Creating,
    /// It was advertised, the store has not answered.
    HeldUnstored,
    Held,
    /// The client asked for it with identifier 98.
    ClosingByClient,
    ClosingByApplication,
    /// As the former, and the store has not answered.
    ClosingUnstored,
}

impl Before {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Restoring,
        Self::Creating,
        Self::HeldUnstored,
        Self::Held,
        Self::ClosingByClient,
        Self::ClosingByApplication,
        Self::ClosingUnstored,
    ];

    fn script(self) -> Script {
        let mut script = match self {
            Self::Held | Self::ClosingByClient | Self::ClosingByApplication => {
                Script::logged_in(Dialect::V1_4, &config())
            }
            _ => Script::new(),
        };
        match self {
            Self::Empty | Self::Held => {}
            Self::Restoring => script.client(restore(99, "k1"), &["ask Restore k1"]),
            Self::Creating | Self::HeldUnstored | Self::ClosingUnstored => {
                assert_eq!(script.create("k1"), Ok(()));
                if self != Self::Creating {
                    let created = Outcome { key: key("k1"), change: Change::Created };
                    script.connection.handle_session(script.now, created, &mut script.out);
                }
            }
            Self::ClosingByClient => script.client(close_session(98), &["ask Close k1"]),
            Self::ClosingByApplication => {}
        }
        if matches!(self, Self::ClosingByApplication | Self::ClosingUnstored) {
            assert_eq!(script.connection.close_session(&mut script.out), Ok(true));
        }
        script.lines();
        script
    }

    fn holds(self) -> bool {
        !matches!(self, Self::Empty | Self::Restoring | Self::Creating)
    }
}

fn changes() -> [Change; 19] {
    [
        restored("k1"),
        Change::NotFound,
        Change::LimitReached,
        Change::LookupFailed,
        Change::Created,
        Change::Stored,
        Change::CreateFailed,
        Change::Closed,
        Change::Detached,
        Change::CloseFailed,
        Change::ClosedByKey { disconnect: false },
        Change::ClosedByKey { disconnect: true },
        Change::ClosedByOther { destroyed: false },
        Change::ClosedByOther { destroyed: true },
        Change::Updated { info: Box::new(SessionInfo::new().public("a", 1)), own: false },
        Change::Updated { info: Box::new(SessionInfo::new().private("a", 1)), own: false },
        // Not for an edit of this connection, which has asked for none.
        Change::Updated { info: Box::new(SessionInfo::new().private("a", 1)), own: true },
        Change::Rotated { session: Box::new(session("k3")), own: false },
        Change::EditFailed(EditFailure::Store),
    ]
}

/// What the news causes, but for the end of the connection, and whether it has a session then.
fn expected(before: Before, change: &Change) -> (Vec<&'static str>, bool) {
    use Before::*;

    let (lines, holds): (&[&str], bool) = match (before, change) {
        (Restoring, Change::Restored(_)) => (
            &[
                "send c0 99 {\"k\":\"k1\",\"c\":\"1970-01-01T00:00:00Z\",\
                 \"l\":\"1970-01-01T00:00:00Z\"}",
                "event Restored",
            ],
            true,
        ),
        (Restoring, Change::NotFound) => (&["send 03 99"], false),
        (Restoring, Change::LimitReached) => (&["send 04 99"], false),
        (Restoring, Change::LookupFailed) => (&["send 02 99"], false),
        (Creating, Change::Created) => (
            &["send 15 {\"k\":\"k1\",\"c\":\"1970-01-01T00:00:00Z\",\
               \"l\":\"1970-01-01T00:00:00Z\"}"],
            true,
        ),
        (Creating, Change::CreateFailed) => (&["event CreateFailed"], false),
        (HeldUnstored | ClosingUnstored, Change::Stored) => (&["event Created"], true),
        (Held, Change::ClosedByKey { .. }) => (&["send 16", "event Closed by Key"], false),
        (Held, Change::ClosedByOther { destroyed: true }) => {
            (&["send 16", "event Closed by OtherConnection"], false)
        }
        (HeldUnstored, Change::ClosedByOther { destroyed: true }) => {
            (&["send 16", "event Created", "event Closed by OtherConnection"], false)
        }
        (ClosingByApplication, Change::ClosedByOther { destroyed: true }) => {
            (&["send 16", "event Closed by Application"], false)
        }
        (ClosingUnstored, Change::ClosedByOther { destroyed: true }) => {
            (&["send 16", "event Created", "event Closed by Application"], false)
        }
        (ClosingByClient, Change::ClosedByOther { destroyed: true }) => {
            (&["send 16", "send bf 98", "event Closed by Client"], false)
        }
        (Held | ClosingByApplication, Change::ClosedByOther { .. }) => {
            (&["send 16", "event Closed by OtherConnection, lives on"], false)
        }
        (ClosingByClient, Change::ClosedByOther { .. }) => {
            (&["send 16", "send bf 98", "event Closed by OtherConnection, lives on"], false)
        }
        (HeldUnstored | ClosingUnstored, Change::ClosedByOther { .. }) => {
            (&["send 16", "event Created", "event Closed by OtherConnection, lives on"], false)
        }
        (HeldUnstored | ClosingUnstored, Change::ClosedByKey { .. }) => {
            (&["send 16", "event Created", "event Closed by Key"], false)
        }
        (ClosingUnstored, Change::Closed) => {
            (&["send 16", "event Created", "event Closed by Application"], false)
        }
        (ClosingUnstored, Change::Detached) => {
            (&["send 16", "event Created", "event Closed by Application, lives on"], false)
        }
        (ClosingByClient, Change::ClosedByKey { .. }) => {
            (&["send 16", "send bf 98", "event Closed by Key"], false)
        }
        (ClosingByClient, Change::Closed) => {
            (&["send 16", "send bf 98", "event Closed by Client"], false)
        }
        (ClosingByClient, Change::Detached) => {
            (&["send 16", "send bf 98", "event Closed by Client, lives on"], false)
        }
        (ClosingByApplication, Change::ClosedByKey { .. }) => {
            (&["send 16", "event Closed by Key"], false)
        }
        (ClosingByApplication, Change::Closed) => {
            (&["send 16", "event Closed by Application"], false)
        }
        (ClosingByApplication, Change::Detached) => {
            (&["send 16", "event Closed by Application, lives on"], false)
        }
        (ClosingByClient, Change::CloseFailed) => (&["send 02 98", "event CloseFailed"], true),
        (ClosingByApplication | ClosingUnstored, Change::CloseFailed) => {
            (&["event CloseFailed"], true)
        }
        (before, Change::Updated { info, .. }) if before.holds() => {
            if info.to_private().contains_key("a") {
                (&["event Updated"], true)
            } else {
                (
                    &[
                        "send 15 {\"k\":\"k1\",\"c\":\"1970-01-01T00:00:00Z\",\
                         \"l\":\"1970-01-01T00:00:00Z\",\"i\":{\"a\":1}}",
                        "event Updated",
                    ],
                    true,
                )
            }
        }
        (before, Change::Rotated { .. }) if before.holds() => (
            &[
                "send 15 {\"k\":\"k3\",\"c\":\"1970-01-01T00:00:00Z\",\
                 \"l\":\"1970-01-01T00:00:00Z\"}",
                "event Rotated",
            ],
            true,
        ),
        (before, _) => (&[], before.holds()),
    };
    (lines.to_vec(), holds)
}

#[test]
fn the_registry_s_news_in_every_state() {
    for before in Before::ALL {
        for change in changes() {
            let (mut lines, holds) = expected(before, &change);
            if before.holds() && change == (Change::ClosedByKey { disconnect: true }) {
                lines.push("close SessionClosed");
            }
            let mut script = before.script();
            let outcome = Outcome { key: key("k1"), change: change.clone() };
            script.connection.handle_session(script.now, outcome, &mut script.out);
            assert_eq!(script.lines(), lines, "{change:?} when {before:?}");
            assert_eq!(script.connection.session().is_some(), holds, "{change:?} when {before:?}");
        }
    }
}

#[test]
fn news_of_another_session_change_nothing() {
    for before in Before::ALL {
        for change in changes() {
            let mut script = before.script();
            script.told("k2", change, &[]);
            assert!(script.connection.is_open());
            assert_eq!(script.connection.session().is_some(), before.holds());
        }
    }
}

#[test]
fn the_client_asks_in_every_state() {
    for before in Before::ALL {
        let (restores, closes): (&[&str], &[&str]) = match before {
            Before::Empty => (&["ask Restore k2"], &["send bf 2"]),
            Before::Creating => (&["send 06 1"], &["send bf 2"]),
            Before::HeldUnstored | Before::Held => (&["send 06 1"], &["ask Close k1"]),
            // It waits.
            Before::Restoring
            | Before::ClosingByClient
            | Before::ClosingByApplication
            | Before::ClosingUnstored => (&[], &[]),
        };
        before.script().client(restore(1, "k2"), restores);
        before.script().client(close_session(2), closes);
    }
}

#[test]
fn the_application_asks_in_every_state() {
    for before in Before::ALL {
        let mut script = before.script();
        let created = script.create("k2");
        let asked = script.lines();
        assert_eq!(created.is_ok(), asked == ["ask Create k2"]);
        let mut script = before.script();
        let closed = script.connection.close_session(&mut script.out);
        let asked = script.lines();
        assert_eq!(closed == Ok(true), asked == ["ask Close k1"]);
        assert_eq!(closed != Ok(true), asked.is_empty());

        let mut script = before.script();
        let updated = script.update(SessionInfo::new());
        let rotated = script.rotate("k3");
        let expected = match before {
            Before::Empty => Err(Misuse::NoSession),
            Before::HeldUnstored | Before::Held => Ok(()),
            _ => Err(Misuse::SessionBusy),
        };
        assert_eq!((updated.map(drop), rotated.map(drop)), (expected, expected), "{before:?}");
        let asked: &[&str] =
            if expected.is_ok() { &["ask Update k1", "ask Rotate k1 k3"] } else { &[] };
        script.expect(asked);

        let expected = match before {
            Before::Empty => (Ok(()), Ok(false)),
            Before::HeldUnstored | Before::Held => (Err(Misuse::SessionExists), Ok(true)),
            Before::Restoring
            | Before::Creating
            | Before::ClosingByClient
            | Before::ClosingByApplication
            | Before::ClosingUnstored => (Err(Misuse::SessionBusy), Err(Misuse::SessionBusy)),
        };
        assert_eq!((created, closed), expected, "{before:?}");
    }
}

#[test]
fn the_registry_hears_when_the_connection_ends_in_every_state() {
    for before in Before::ALL {
        let left: &[&str] = match before {
            Before::Empty => &[],
            // The application would otherwise take it for a session that the client can restore.
            Before::ClosingByClient => &["ask Leave k1", "event Closed by Client, fate unknown"],
            Before::ClosingByApplication => {
                &["ask Leave k1", "event Closed by Application, fate unknown"]
            }
            // The application has not been told of the last one.
            Before::Restoring
            | Before::Creating
            | Before::HeldUnstored
            | Before::Held
            | Before::ClosingUnstored => &["ask Leave k1"],
        };
        let mut script = before.script();
        script.disconnect(left);
        assert_eq!(script.connection.session(), None);
        for change in changes() {
            script.told("k1", change, &[]);
        }
        script.disconnect(&[]);
    }
}
