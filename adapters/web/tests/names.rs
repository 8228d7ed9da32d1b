//! What `js/index.d.ts` says of errors and reasons is what the machine and the module can say: no more, and no less.

use std::collections::BTreeSet;

type Names = BTreeSet<String>;

/// The names that a `name` function of an enum returns.
fn of_rust(source: &str, item: &str) -> Names {
    let (_, item) = source.split_once(&format!("\nimpl {item} {{")).unwrap();
    let (item, _) = item.split_once("\n}").unwrap();
    let (_, body) = item.split_once("fn name(&self) -> &'static str {").unwrap();
    let (body, _) = body.split_once("\n    }").unwrap();
    let names: Names = body.lines().filter_map(|line| quoted(line.split_once("=>")?.1)).collect();
    assert!(!names.is_empty());
    names
}

/// The string at the beginning.
fn quoted(text: &str) -> Option<String> {
    let (string, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(string.into())
}

const TYPES: &str = include_str!("../js/index.d.ts");
const MODULE: &str = include_str!("../js/index.js");

/// The strings of a type that is a union of them.
fn of_types(name: &str) -> Names {
    let (_, union) = TYPES.split_once(&format!("export type {name} =")).unwrap();
    let (union, _) = union.split_once(';').unwrap();
    union.split('|').filter_map(quoted).collect()
}

/// What the module itself throws, or returns for errors of the core, in this class.
fn of_module(class: &str) -> Names {
    let construction = format!("new {class}(");
    let thrown = MODULE.split(&construction).skip(1).filter_map(quoted);
    let (_, table) = MODULE.split_once("const CLASSES = {").unwrap();
    let (table, _) = table.split_once("};").unwrap();
    let mapped = table.lines().filter_map(|line| {
        let (name, of) = line.trim().trim_end_matches(',').split_once(": ")?;
        (of == class).then(|| name.trim_matches('"').to_owned())
    });
    thrown.chain(mapped).collect()
}

fn union<const N: usize>(names: [Names; N]) -> Names {
    names.into_iter().flatten().collect()
}

fn set<const N: usize>(names: [&str; N]) -> Names {
    names.map(str::to_owned).into()
}

#[test]
fn reasons_are_those_of_the_machine() {
    let actions = include_str!("../../../src/client/action.rs");
    assert_eq!(of_types("DisconnectReason"), of_rust(actions, "DisconnectReason"));
    assert_eq!(of_types("SessionLoss"), of_rust(actions, "SessionLoss"));
}

#[test]
fn codes_of_errors_are_those_of_the_machine_and_the_module() {
    let machine = include_str!("../../../src/client/error.rs");
    let host = include_str!("../src/error.rs");
    let connecting = union([of_rust(machine, "ConnectError"), of_rust(host, "ConnectError")]);
    let documented = union([of_types("ConnectFailureCode"), set(["timed-out"])]);
    // The browser deals with proxies, and says nothing of them.
    assert_eq!(documented, &connecting - &set(["proxy-refused"]));

    let requests = union([
        of_rust(machine, "RequestError"),
        of_rust(machine, "Misuse"),
        of_rust(host, "Error"),
        of_rust(host, "StartError"),
        // What js.rs throws.
        set(["odd-utf-16", "no-key", "invalid-setting"]),
    ]);
    // The code of the application takes the place of the first. The module rejects aborted requests with the reason of
    // their signal, and does not resume sessions by itself.
    let never = set(["failed", "cancelled", "connected"]);
    let documented = union([
        of_types("ServerErrorCode"),
        of_types("RequestFailureCode"),
        of_types("UsageErrorCode"),
        set(["timed-out", "unreadable"]),
    ]);
    assert_eq!(documented, &requests - &never);
}

#[test]
fn each_code_is_documented_with_the_class_that_it_has() {
    assert_eq!(of_module("ServerError"), of_types("ServerErrorCode"));
    assert_eq!(of_module("TimeoutError"), set(["timed-out"]));
    assert_eq!(of_module("ReplyError"), set(["unreadable"]));
    let connection = union([of_types("RequestFailureCode"), set(["closed", "not-loaded"])]);
    assert_eq!(of_module("ConnectionError"), connection);
    // All others are of this class.
    let usage = of_module("UsageError");
    assert!(usage.is_subset(&of_types("UsageErrorCode")), "{usage:?}");
}

#[test]
fn what_js_rs_throws_is_known() {
    let bindings = include_str!("../src/js.rs");
    let thrown: Names = bindings.split("thrown(").skip(1).filter_map(quoted).collect();
    assert_eq!(thrown, set(["odd-utf-16", "no-key", "invalid-setting"]));
}
