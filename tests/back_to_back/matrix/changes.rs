//! A server takes the place of one of another version, and a client that finds out finds that out.

use wwr::client::Event;
use wwr::{Dialect, Payload, Valid};

use super::{IDLE, MINUTE, SERVERS, settings, table};
use crate::world::World;

/// What the client speaks with each of [`SERVERS`].
const SPOKEN: [Dialect; 5] =
    [Dialect::V1_4, Dialect::V1_5, Dialect::V2_0, Dialect::V2_0, Dialect::V2_0];

#[test]
fn any_server_may_take_the_place_of_any_other() {
    table("instead of", SERVERS.map(super::name), |from, to| {
        let mut world = World::scripted(settings(SERVERS[from]));
        let ada = world.client(Valid::default());
        world.connect(ada);
        world.run();
        assert_eq!(world.ask(ada, "login"), Ok(Payload::utf8("welcome")));
        let key = world.key(ada);
        assert_eq!(world.clients[ada].machine.dialect(), SPOKEN[from]);
        world.told(ada);

        world.replace(SERVERS[to]);
        world.run_for(MINUTE);
        let told = world.told(ada);
        let [
            Event::Disconnected { retry: Some(_), .. },
            Event::SessionRestored(session),
            Event::Connected,
        ] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!(Some(&session.key), key.as_ref());
        assert_eq!(world.clients[ada].machine.dialect(), SPOKEN[to]);

        // And it is known for what it is: all is well for as long as nothing is asked.
        let socket = world.socket(ada);
        world.run_for(IDLE);
        assert_eq!(world.socket(ada), socket);
        assert!(world.ask(ada, "echo").is_ok());
        world.finish();
        SPOKEN[to]
    });
}
