//! A server takes the place of one of another version, and a client that finds out finds that out.

use wwr::Dialect;
use wwr::client::Config;

use super::{IDLE, MINUTE, SERVERS, table};

/// What the client speaks with each of [`SERVERS`].
const SPOKEN: [Dialect; 5] =
    [Dialect::V1_4, Dialect::V1_5, Dialect::V2_0, Dialect::V2_0, Dialect::V2_0];

#[test]
fn any_server_may_take_the_place_of_any_other() {
    table("instead of", SERVERS.map(super::name), |from, to| {
        let mut script = super::script(SERVERS[from]);
        let ada = script.add_client(Config::default());
        script.connect(ada);
        script.run();
        assert_eq!(script.ask(ada, "login"), Ok("welcome".into()));
        let key = script.key(ada);
        assert_eq!(script.client(ada).dialect(), SPOKEN[from]);
        script.told(ada);

        script.replace(SERVERS[to]);
        script.run_for(MINUTE);
        let (_, session) = script.resumed(ada);
        assert_eq!(Some(&session.key), key.as_ref());
        assert_eq!(script.client(ada).dialect(), SPOKEN[to]);

        // And it is known for what it is: all is well for as long as nothing is asked.
        let socket = script.socket(ada);
        script.run_for(IDLE);
        assert_eq!(script.socket(ada), socket);
        assert!(script.ask(ada, "echo").is_ok());
        script.finish();
        SPOKEN[to]
    });
}
