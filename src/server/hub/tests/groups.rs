//! Groups.

use super::*;

fn members(script: &Script, group: &str) -> Vec<u64> {
    let members: Vec<_> = script.hub.members(group).map(|id| id.0).collect();
    assert_eq!(members.len(), script.hub.member_count(group));
    members
}

fn groups(script: &Script, id: u64) -> Vec<String> {
    script.hub.groups_of(ConnectionId(id)).map(Into::into).collect()
}

#[test]
fn connections_join_and_leave_and_a_group_exists_while_it_has_members() {
    let mut script = Script::with(3, HubConfig::default());
    let [one, two, three] = [1, 2, 3].map(ConnectionId);
    assert_eq!(script.hub.join(two, "a"), Ok(true));
    assert_eq!(script.hub.join(one, "a"), Ok(true));
    assert_eq!(script.hub.join(one, "a"), Ok(false), "it is in it already");
    assert_eq!(script.hub.join(one, "b"), Ok(true));
    assert_eq!(script.hub.join(three, "c"), Ok(true));
    assert_eq!((members(&script, "a"), members(&script, "b")), ([1, 2].into(), [1].into()));
    assert_eq!(
        (groups(&script, 1), groups(&script, 2)),
        (["a", "b"].map(Into::into).into(), ["a".into()].into())
    );
    assert!(!script.hub.leave(two, "b") && !script.hub.leave(two, "unknown"));
    assert!(script.hub.leave(two, "a") && !script.hub.leave(two, "a"));
    assert_eq!(script.hub.group_count(), 3);
    script.left(1, &[]);
    assert_eq!((members(&script, "a").len(), members(&script, "b").len()), (0, 0));
    assert_eq!(script.hub.group_count(), 1);
    // The slots of groups that have ended are reused, and no connection joins another group by
    // that.
    assert_eq!(script.hub.join(two, "d"), Ok(true));
    assert_eq!((members(&script, "d"), members(&script, "c")), ([2].into(), [3].into()));
    assert_eq!(groups(&script, 3), ["c"]);
    script.left(2, &[]);
    script.left(3, &[]);
    assert!(script.hub.is_idle());
}

#[test]
fn a_connection_that_has_ended_is_in_no_group_and_joins_none() {
    let mut script = Script::with(3, HubConfig::default());
    for id in 1..=3 {
        assert_eq!(script.hub.join(ConnectionId(id), "a"), Ok(true));
    }
    let two = ConnectionId(2);
    assert_eq!(script.hub.join(two, "b"), Ok(true));
    assert!(script.hub.members_after("a", two).eq([ConnectionId(3)]));
    assert!(script.hub.members_after("a", ConnectionId(0)).eq(script.hub.members("a")));
    for _ in 0..2 {
        script.hub.ended(two);
        assert_eq!((members(&script, "a"), members(&script, "b")), ([1, 3].into(), [].into()));
        assert!(groups(&script, 2).is_empty());
        assert_eq!(script.hub.join(two, "a"), Err(GroupError::UnknownConnection));
        assert!(!script.hub.leave(two, "a"));
    }
    assert!(script.hub.members_after("a", ConnectionId(1)).eq([ConnectionId(3)]));
    assert_eq!((script.hub.group_count(), script.hub.connection_count()), (1, 3));
    [2, 1, 3].into_iter().for_each(|id| script.left(id, &[]));
    script.hub.ended(two);
    assert!(script.hub.is_idle());
}

#[test]
fn groups_are_bounded() {
    let config = HubConfig { max_groups: 2, ..HubConfig::default() };
    let mut script = Script::with(1, config);
    let one = ConnectionId(1);
    for (name, result) in [
        ("", Err(GroupError::InvalidName { length: 0 })),
        (&"x".repeat(256)[..], Err(GroupError::InvalidName { length: 256 })),
        (&"x".repeat(255)[..], Ok(true)),
        ("a", Ok(true)),
        ("a", Ok(false)),
        ("b", Err(GroupError::TooManyGroups { max: 2 })),
    ] {
        assert_eq!(script.hub.join(one, name), result, "{name}");
    }
    assert!(members(&script, "b").is_empty(), "a refusal creates no group");
    assert_eq!(script.hub.group_count(), 2);
    assert!(script.hub.leave(one, "a"));
    assert_eq!(script.hub.join(one, "b"), Ok(true));
    assert_eq!(script.hub.join(ConnectionId(2), "b"), Err(GroupError::UnknownConnection));
    script.left(1, &[]);
    assert_eq!(script.hub.join(one, "b"), Err(GroupError::UnknownConnection));
    assert!(!script.hub.leave(one, "b"));
    assert!(groups(&script, 1).is_empty() && script.hub.is_idle());
}

#[test]
fn memory_of_many_groups_is_given_back_with_the_last() {
    let mut script = Script::with(1, HubConfig { max_groups: 10_000, ..HubConfig::default() });
    for group in 0..10_000 {
        script.hub.join(ConnectionId(1), &group.to_string()).unwrap();
    }
    assert_eq!(script.hub.groups.capacity(), 10_000);
    script.left(1, &[]);
    assert_eq!(script.hub.groups.capacity(), 0);
}
