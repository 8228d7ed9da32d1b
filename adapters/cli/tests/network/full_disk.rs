//! Disks that take nothing more, and directories that are not as they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::Server;

/// A playground whose files cannot grow beyond 512 bytes, as if the disk were full for what is
/// longer.
fn on_a_full_disk(directory: &Path) -> Server {
    let script = r#"trap "" XFSZ && ulimit -f 1 && exec "$0" "$@""#;
    Server::start_in(&["sh", "-c", script], &["--sessions", text(directory), "--durable"])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn long_info() -> String {
    format!(r#"{{"user":"ada","pad":"{}"}}"#, "x".repeat(5000))
}

#[test]
fn on_a_full_disk_only_new_sessions_suffer() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("sessions");
    let server = Server::start(&["--sessions", text(&directory), "--durable"]);
    let old = server.reply(&["login", &long_info()]);
    drop(server);

    let mut server = on_a_full_disk(&directory);
    assert_eq!(server.error(&["login", &long_info()]), "internal-error");
    server.running.wait_for_log("cannot write session file");
    // The time of the look-up cannot be noted, which is no reason to keep ada out.
    assert!(server.reply(&["--session", &old, "whoami"]).contains("ada"));
    server.running.wait_for_log("could not be recorded");
    let small = server.reply(&["login", r#"{"user":"bob"}"#]);
    assert!(server.reply(&["--session", &small, "whoami"]).contains("bob"));
    assert_eq!(server.reply(&["echo", "still here"]), "still here");
    assert_eq!(names(&directory).len(), 2, "nothing half-written stays");
    server.reply(&["--session", &small, "logout"]);
    drop(server);

    let server = Server::start(&["--sessions", text(&directory), "--durable"]);
    assert!(server.reply(&["--session", &old, "whoami"]).contains("ada"));
    assert_eq!(names(&directory), [format!("{old}.wwrsess")]);
}

#[test]
fn a_broken_session_file_affects_only_its_client() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("sessions");
    let arguments = ["--sessions", text(&directory), "--durable", "--expire-after", "1ns"];
    let server = Server::start(&arguments[..3]);
    let good = server.reply(&["login", r#"{"user":"ada"}"#]);
    let half = "h".repeat(64);
    let folder = "f".repeat(64);
    fs::write(directory.join(format!("{half}.wwrsess")), r#"{"c":"2026-11-22T12:3"#).unwrap();
    fs::create_dir(directory.join(format!("{folder}.wwrsess"))).unwrap();
    fs::write(directory.join("README"), "hands off").unwrap();
    for key in [&half, &folder] {
        assert_eq!(server.error(&["--session", key, "whoami"]), "internal-error");
    }
    assert!(server.reply(&["--session", &good, "whoami"]).contains("ada"));
    drop(server);

    // Nor does expiry touch it, which removes at once all that is old.
    let mut server = Server::start(&arguments);
    server.running.wait_for_log("expired sessions removed");
    let mut left = names(&directory);
    left.sort();
    assert_eq!(left, ["README".into(), format!("{folder}.wwrsess"), format!("{half}.wwrsess")]);
}

/// A playground for which the permissions of files hold, for any user that runs the tests: to root
/// they are nothing, unless it is started without that privilege. `None`, and a word of it, where
/// root cannot give it up.
fn bound_by_permissions(directory: &Path) -> Option<Server> {
    let arguments = ["--sessions", text(directory), "--durable"];
    if !rustix::process::geteuid().is_root() {
        return Some(Server::start(&arguments));
    }
    let without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let tried = Command::new(without[0]).args([without[1], "true"]).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(Server::start_in(&without, &arguments));
    }
    println!("skipped: root cannot give up its privilege to open any file");
    None
}

#[test]
fn sessions_in_a_read_only_directory_are_found() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("sessions");
    let Some(server) = bound_by_permissions(&directory) else { return };
    let key = server.reply(&["login", r#"{"user":"ada"}"#]);
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o500)).unwrap();
    assert_eq!(server.error(&["login"]), "internal-error");
    assert_eq!(server.error(&["--session", &key, "logout"]), "internal-error");
    assert!(server.reply(&["--session", &key, "whoami"]).contains("ada"));
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
    assert!(server.reply(&["--session", &key, "whoami"]).contains("ada"));
}

#[test]
fn a_file_that_is_read_only_can_be_looked_up() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("sessions");
    let Some(server) = bound_by_permissions(&directory) else { return };
    let key = server.reply(&["login", r#"{"user":"ada"}"#]);
    let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode));
    set(&directory.join(format!("{key}.wwrsess")), 0o400).unwrap();
    set(&directory, 0o500).unwrap();
    assert!(server.reply(&["--session", &key, "whoami"]).contains("ada"));
    set(&directory, 0o700).unwrap();
    // The look-up replaces it.
    assert!(server.reply(&["--session", &key, "whoami"]).contains("ada"));
    server.reply(&["--session", &key, "logout"]);
    assert_eq!(names(&directory), [""; 0]);
}

#[test]
fn an_unreadable_file_is_refused_and_kept() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("sessions");
    let Some(server) = bound_by_permissions(&directory) else { return };
    let key = server.reply(&["login", r#"{"user":"ada"}"#]);
    let file = directory.join(format!("{key}.wwrsess"));
    fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    assert_eq!(server.error(&["--session", &key, "whoami"]), "internal-error");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(server.reply(&["--session", &key, "whoami"]).contains("ada"));
}
