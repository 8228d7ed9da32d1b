//! Sessions: created, continued, shared, limited, closed.

use wwr::SessionKey;
use wwr::client::{Config, DisconnectReason, Event, RequestError, SessionLoss};
use wwr::server::{CloseReason, Expiry};
use wwr_world::{ClientId, Script, Sent, Way, with};

use super::{SECOND, calm, config, hub, limited};

/// Logs a client in and gives the key.
fn log_in(script: &mut Script, client: ClientId) -> SessionKey {
    assert_eq!(script.ask(client, "login"), Ok("welcome".into()));
    let told = script.told(client);
    let [Event::SessionCreated(session)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(script.key(client).as_ref(), Some(&session.key));
    session.key.clone()
}

fn restore(script: &mut Script, client: ClientId, key: &SessionKey) -> Result<(), RequestError> {
    let id = script.restore(client, key);
    script.run();
    script.outcome(client, id).map(drop)
}

fn close_session(script: &mut Script, client: ClientId) -> Result<(), RequestError> {
    let id = script.close_session(client);
    script.run();
    script.outcome(client, id).map(drop)
}

fn who_am_i(script: &mut Script, client: ClientId) -> String {
    script.ask(client, "whoami").unwrap()
}

#[test]
fn a_session_is_announced_before_the_reply_and_the_reply_waits_for_the_store() {
    let mut script = calm();
    let [ada] = script.connected();
    let id = script.request(ada, "login");
    script.run_for_millis(20);
    assert_eq!(script.key(ada), Some(script.keys()[0].clone()), "after 10 ms up and 10 ms down");
    assert_eq!(script.outcome_if_any(ada, id), None);
    script.run_for_millis(5);
    assert_eq!(script.outcome(ada, id), Ok("welcome".into()));
    let key = script.keys()[0].clone();
    assert_eq!(who_am_i(&mut script, ada), key.as_str());
    assert!(script.store_keeps(&key));
    script.finish();
    assert!(script.store_keeps(&key), "losing the last connection destroys nothing");
}

#[test]
fn a_durable_session_is_announced_when_the_store_has_it_and_not_at_all_if_it_fails() {
    let mut script = Script::new(config(), with(hub(), |hub| hub.sessions.durable = true));
    let [ada] = script.connected();
    let id = script.request(ada, "login");
    script.run_for_millis(24);
    assert_eq!(script.key(ada), None);
    script.run_for_millis(1);
    assert_eq!(script.key(ada), Some(script.keys()[0].clone()));
    assert_eq!(script.outcome(ada, id), Ok("welcome".into()));
    assert_eq!(close_session(&mut script, ada), Ok(()));

    script.store_fails(true);
    script.told(ada);
    assert_eq!(script.ask(ada, "login"), Err(RequestError::Internal));
    assert_eq!((script.told(ada), script.key(ada)), (vec![], None));
    assert_eq!(script.active_sessions(), 0);
    script.finish();
}

#[test]
fn a_session_survives_a_cut_a_close_and_a_crash() {
    let mut script = calm();
    let [ada] = script.connected();
    let key = log_in(&mut script, ada);

    script.cut(script.socket(ada));
    script.run();
    let (reason, session) = script.resumed(ada);
    assert_eq!(reason, DisconnectReason::Lost);
    assert_eq!(session.info.value("number"), Some(&1.into()));
    assert_eq!(who_am_i(&mut script, ada), key.as_str());

    script.close(ada);
    script.run();
    assert_eq!(script.active_sessions(), 0);
    script.told(ada);
    script.connect(ada);
    script.run();
    let told = script.told(ada);
    assert!(matches!(&told[..], [Event::SessionRestored(_), Event::Connected]), "{told:?}");

    script.crash();
    script.run_for_millis(1000);
    script.start();
    script.run();
    assert_eq!(who_am_i(&mut script, ada), key.as_str());
    assert_eq!(script.holders(&key).len(), 1);
    script.finish();
}

#[test]
fn of_two_that_want_the_last_place_one_gets_it() {
    let mut script = Script::new(config(), limited(1));
    let [ada, bob, eve] = script.connected();
    let key = log_in(&mut script, ada);
    assert_eq!(restore(&mut script, bob, &key), Err(RequestError::MaxSessionConnections));
    script.close(ada);
    script.run();

    let ids = [bob, eve].map(|client| (client, script.restore(client, &key)));
    script.run();
    let [first, second] = ids.map(|(client, id)| script.outcome(client, id));
    assert!(first.is_ok());
    assert_eq!(second, Err(RequestError::MaxSessionConnections));
    assert_eq!(script.key(bob), Some(key.clone()));
    assert_eq!(script.key(eve), None);

    // The one that comes back finds no place for a while, and gives up.
    script.told(ada);
    script.connect(ada);
    script.run();
    let told = script.told(ada);
    let lost = Event::SessionLost(SessionLoss::GaveUp);
    assert_eq!(told, [lost, Event::Connected]);
    script.finish();
}

#[test]
fn a_place_that_is_given_up_while_the_store_is_asked_is_free() {
    let mut script = Script::new(config(), limited(1));
    script.store_takes(SECOND);
    let [ada, bob] = script.connected();
    let key = log_in(&mut script, ada);
    script.close(ada);
    script.run();
    script.restore(bob, &key);
    script.run_for_millis(500);
    script.close(bob);
    script.run_for_millis(10);
    script.connect(ada);
    script.run();
    assert_eq!(script.key(ada), Some(key.clone()));
    assert_eq!(script.holders(&key).len(), 1);
    script.finish();
}

#[test]
fn a_session_lives_until_its_last_connection_closes_it() {
    let mut script = calm();
    let [ada, bob] = script.connected();
    let key = log_in(&mut script, ada);
    assert_eq!(restore(&mut script, bob, &key), Ok(()));
    assert_eq!(script.holders(&key).len(), 2);
    script.told(bob);

    assert_eq!(close_session(&mut script, ada), Ok(()));
    assert_eq!(script.told(ada), [Event::SessionClosed]);
    assert_eq!((script.told(bob), script.key(bob)), (vec![], Some(key.clone())));
    assert_eq!(restore(&mut script, ada, &key), Ok(()), "the other one keeps it alive");

    assert_eq!(close_session(&mut script, bob), Ok(()));
    assert_eq!(close_session(&mut script, ada), Ok(()));
    assert!(!script.store_keeps(&key) && script.active_sessions() == 0);
    assert_eq!(restore(&mut script, bob, &key), Err(RequestError::SessionNotFound));
    assert_eq!(close_session(&mut script, bob), Ok(()), "there is none");
    script.finish();
}

#[test]
fn the_server_closes_a_session_and_its_client_hears_of_it_before_the_reply() {
    let mut script = calm();
    let [ada] = script.connected();
    let key = log_in(&mut script, ada);
    let id = script.request(ada, "logout");
    script.run_for_millis(24);
    assert_eq!(script.key(ada), Some(key.clone()), "the store takes 5 of 25 ms");
    script.run_for_millis(1);
    assert_eq!(script.told(ada), [Event::SessionClosed]);
    assert_eq!(script.outcome(ada, id), Ok("goodbye".into()));
    assert_eq!(who_am_i(&mut script, ada), "");
    script.finish();
}

#[test]
fn a_session_that_cannot_be_destroyed_is_kept_by_both_sides() {
    let mut script = calm();
    let [ada] = script.connected();
    let key = log_in(&mut script, ada);
    script.store_fails(true);
    assert_eq!(close_session(&mut script, ada), Err(RequestError::Internal));
    assert_eq!(script.ask(ada, "logout"), Err(RequestError::Internal));
    assert_eq!((script.told(ada), script.key(ada)), (vec![], Some(key.clone())));
    assert_eq!(who_am_i(&mut script, ada), key.as_str());
    script.store_fails(false);
    assert_eq!(close_session(&mut script, ada), Ok(()));
    script.finish();
}

#[test]
fn closing_by_key_reaches_every_connection() {
    for disconnect in [false, true] {
        let mut script = calm();
        let clients @ [ada, bob, eve] = script.connected();
        let key = log_in(&mut script, ada);
        assert_eq!(restore(&mut script, bob, &key), Ok(()));
        script.told(bob);
        assert_eq!(script.close_everywhere(&key, disconnect), 2);
        script.run_for_millis(10);
        for client in [ada, bob] {
            let told = script.told(client);
            assert_eq!(told.first(), Some(&Event::SessionClosed));
            let gone = matches!(told.get(1), Some(Event::Disconnected { retry: Some(_), .. }));
            assert_eq!((gone, told.len()), (disconnect, 1 + usize::from(disconnect)));
        }
        let closed = [CloseReason::SessionClosed, CloseReason::SessionClosed];
        let reasons: Vec<_> = script.closed().iter().map(|(_, reason)| reason.clone()).collect();
        assert_eq!(reasons, if disconnect { &closed[..] } else { &[] });
        script.run();
        for client in clients {
            assert_eq!(who_am_i(&mut script, client), "");
        }
        assert_eq!(restore(&mut script, eve, &key), Err(RequestError::SessionNotFound));
        script.finish();
    }
}

#[test]
fn a_restoration_is_lost_to_whoever_closes_the_session_meanwhile() {
    let mut script = calm();
    let [ada, bob] = script.connected();
    let key = log_in(&mut script, ada);
    script.store_takes(SECOND);
    let restoring = script.restore(bob, &key);
    script.run_for_millis(500);
    let kicking = script.request(ada, "kick");
    script.run();
    assert_eq!(script.outcome(ada, kicking), Ok("1".into()));
    assert_eq!(script.outcome(bob, restoring), Err(RequestError::SessionNotFound));
    assert!(!script.store_keeps(&key));
    script.finish();
}

#[test]
fn a_session_is_asked_for_again_while_the_store_fails_and_then_given_up() {
    let mut script = calm();
    let config = with(Config::default(), |config| config.resume_attempts = 3);
    let ada = script.add_client(config);
    script.connect(ada);
    script.run();
    script.told(ada);
    let key = log_in(&mut script, ada);
    script.store_fails(true);
    script.cut(script.socket(ada));
    script.run();
    let told = script.told(ada);
    assert_eq!(told[1..], [Event::SessionLost(SessionLoss::GaveUp), Event::Connected]);
    assert!(script.store_keeps(&key));
    script.store_fails(false);
    assert_eq!(restore(&mut script, ada, &key), Ok(()));
    script.finish();
}

/// Makes the same request again and again, as soon as it has an outcome, for so many seconds.
fn repeat(script: &mut Script, clients: &[ClientId], name: &str, seconds: u64) {
    let mut asked: Vec<_> = clients.iter().map(|one| script.request(*one, name)).collect();
    for _ in 0..seconds * 20 {
        script.run_for_millis(50);
        for (client, request) in clients.iter().zip(&mut asked) {
            if script.outcome_if_any(*client, *request).is_some() {
                *request = script.request(*client, name);
            }
        }
    }
}

#[test]
fn updates_without_a_pause_do_not_keep_other_sessions_from_expiring() {
    let expiry = Some(Expiry::new(SECOND * 10, SECOND));
    let mut script = Script::new(config(), with(hub(), |hub| hub.expiry = expiry));
    let [ada, phone, bob] = script.connected();
    let key = log_in(&mut script, ada);
    assert_eq!(restore(&mut script, phone, &key), Ok(()));
    let left = log_in(&mut script, bob);
    script.close(bob);
    // While one update is under way, the other one waits: there is always the next.
    script.store_takes(SECOND / 2);
    repeat(&mut script, &[ada, phone], "update", 40);
    assert!(!script.store_keeps(&left), "nobody has come back to it");
    assert!(script.store_keeps(&key));
    script.finish();
}

#[test]
fn a_client_that_does_not_read_is_sent_few_of_the_changes_and_the_last() {
    let mut script = calm();
    let [ada, phone] = script.connected();
    let key = log_in(&mut script, ada);
    assert_eq!(restore(&mut script, phone, &key), Ok(()));
    let slow = script.socket(phone);
    script.drag(slow, Way::Down, SECOND * 20);
    let mut sent = script.frames(|script| repeat(script, &[ada], "update", 15));
    let is_told = |sent: &Sent| sent.frame[0] == 21;
    sent.retain(is_told);
    let others = sent.iter().filter(|sent| sent.socket != slow).count();
    assert!(others > 200, "{others} changes");
    assert!((1..=2).contains(&(sent.len() - others)), "{} of {others}", sent.len() - others);

    let rotating = script.request(ada, "rotate");
    let mut sent = script.frames(Script::run);
    assert!(script.outcome(ada, rotating).is_ok());
    sent.retain(|sent| is_told(sent) && sent.socket == slow);
    assert_eq!(sent.len(), 1, "the last state");
    let [held, last] = [ada, phone].map(|client| script.client(client).session().cloned());
    assert!(held == last && held.is_some_and(|session| session.key != key));
    script.finish();
}

#[test]
fn a_session_is_taken_over_by_one_client_and_closed_for_the_others() {
    let mut script = calm();
    let [ada, thief] = script.connected();
    let old = log_in(&mut script, thief);
    assert_eq!(restore(&mut script, ada, &old), Ok(()));
    script.told(ada);
    script.told(thief);
    let id = script.request(ada, "take over");
    let sent = script.frames(Script::run);
    assert_eq!(script.outcome(ada, id), Ok("changed".into()));
    let new = script.key(ada).unwrap();
    assert_ne!(new, old);
    let to_thief: Vec<_> = sent.iter().filter(|sent| sent.socket == script.socket(thief)).collect();
    assert_eq!(to_thief.len(), 1, "{to_thief:?}");
    assert_eq!(to_thief[0].frame[..], [22]);
    assert_eq!(script.told(thief), [Event::SessionClosed]);
    assert_eq!((script.key(thief), script.holders(&new)), (None, vec![script.socket(ada)]));
    assert_eq!(restore(&mut script, thief, &old), Err(RequestError::SessionNotFound));
    assert_eq!((script.store_keeps(&old), script.store_keeps(&new)), (false, true));

    // It comes back with the new key.
    script.cut(script.socket(ada));
    script.run();
    assert_eq!(who_am_i(&mut script, ada), new.as_str());
    script.finish();
}

#[test]
fn a_client_that_leaves_while_it_takes_a_session_over_leaves_it_to_nobody_new() {
    let mut ends = Vec::new();
    for millis in 12..120 {
        let mut script = calm();
        let [ada, bob] = script.connected();
        let old = log_in(&mut script, bob);
        assert_eq!(restore(&mut script, ada, &old), Ok(()));
        script.store_takes(SECOND / 50);
        script.request(ada, "take over");
        script.run_for_millis(millis);
        script.close(ada);
        script.run();
        let keeps =
            |number: usize| script.keys().get(number).is_some_and(|key| script.store_keeps(key));
        let kept = [keeps(0), keeps(1)];
        ends.push((script.key(bob) == Some(old), kept));
        script.finish();
    }
    ends.dedup();
    // Nothing has changed; the old key was being destroyed, and nobody has the new one; all is done.
    assert_eq!(ends, [(true, [true, false]), (false, [false, false]), (false, [false, true])]);
}

#[test]
fn a_session_that_is_closed_while_it_is_rotated_is_gone_when_its_closer_is_told() {
    for rotate in ["rotate", "take over"] {
        for millis in 15..120 {
            let mut script = calm();
            let [ada, bob] = script.connected();
            let old = log_in(&mut script, ada);
            assert_eq!(restore(&mut script, bob, &old), Ok(()));
            script.store_takes(SECOND / 50);
            let rotating = script.request(ada, rotate);
            script.run_for_millis(millis);
            // The invariants look at the store when the closer is told.
            let told = script.close_everywhere(&old, false);
            script.run();
            assert!(script.outcome_if_any(ada, rotating).is_some());
            let lives = script.keys().iter().filter(|key| script.store_keeps(key)).count();
            assert_eq!(lives, usize::from(told == 0), "{rotate}, closed after {millis} ms");
            script.finish();
        }
    }
}
