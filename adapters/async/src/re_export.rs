//! The names that the crate of a runtime has.

/// Defines the modules `server` and `client` and the type `FileStore` of a crate for one runtime: the names
/// of this crate, with the runtime filled in. The crate re-exports the rest with `pub use wwr_async::*`.
#[macro_export]
macro_rules! re_export_for {
    ($runtime:ident) => {
        /// Stores each session in a file, on the runtime's threads for blocking work.
        pub type FileStore = $crate::FileStore<$runtime>;

        /// A WebWire server: implement [`Handler`](server::Handler), build a [`Server`](server::Server),
        /// run it.
        pub mod server {
            pub use $crate::server::*;

            use super::$runtime;

            /// A WebWire server that listens on addresses.
            pub type Server<H> = $crate::server::Server<H, $runtime>;

            /// What a [`Server`] is made of, on the way to one.
            pub type Builder<H> = $crate::server::Builder<H, $runtime>;

            /// A WebWire server without a listener, for an HTTP server of your own.
            pub type Service<H> = $crate::server::Service<H, $runtime>;
        }

        /// A WebWire client: [`connect_to`](client::Client::connect_to) a server, make requests, listen to
        /// [`Events`](client::Events).
        pub mod client {
            pub use $crate::client::*;

            use super::$runtime;

            /// A client of one WebWire server.
            pub type Client = $crate::client::Client<$runtime>;

            /// What a [`Client`] is made of, on the way to one.
            pub type Builder = $crate::client::Builder<$runtime>;

            /// A client for programs without async.
            pub mod blocking {
                pub use $crate::client::blocking::*;

                use super::$runtime;

                /// A client of one WebWire server whose calls block.
                pub type Client = $crate::client::blocking::Client<$runtime>;

                /// What a blocking [`Client`] is made of, on the way to one.
                pub type Builder = $crate::client::blocking::Builder<$runtime>;
            }
        }
    };
}
