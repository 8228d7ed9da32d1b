//! Where the key of the session is kept.

use wasm_bindgen::JsCast as _;
use web_sys::Storage;

use crate::browser::global;

/// Keeps the key of a client's session, so that the session is resumed when the page is opened again.
///
/// The key is a secret: whoever has it can use the session. A failure to keep it is no error, because a page
/// works without; the session then ends with the page.
pub trait KeyStore {
    /// Returns the key, if one is kept.
    fn load(&self) -> Option<String>;
    /// Keeps this key in place of any other, or none any more.
    fn save(&self, key: Option<&str>);
}

/// A store of the browser for texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebStorage {
    /// `localStorage`: shared by all tabs of the origin, and kept when they are closed.
    Local,
    /// `sessionStorage`: of this tab alone, and kept until it is closed.
    Session,
}

impl WebStorage {
    /// Returns a store for the key of a session, in an item of this name.
    pub fn item(self, name: impl Into<String>) -> impl KeyStore + 'static {
        Item { storage: self, name: name.into() }
    }

    fn storage(self) -> Option<Storage> {
        let name = match self {
            Self::Local => "localStorage",
            Self::Session => "sessionStorage",
        };
        // Neither in workers, nor where the user has turned it off.
        global(name).and_then(|storage| storage.dyn_into().ok())
    }
}

struct Item {
    storage: WebStorage,
    name: String,
}

impl KeyStore for Item {
    fn load(&self) -> Option<String> {
        self.storage.storage()?.get_item(&self.name).ok()?.filter(|key| !key.is_empty())
    }

    fn save(&self, key: Option<&str>) {
        let Some(storage) = self.storage.storage() else { return };
        // It may be full or forbidden.
        let _ = match key {
            Some(key) => storage.set_item(&self.name, key),
            None => storage.remove_item(&self.name),
        };
    }
}

/// A client's view of its store: which key it has put there itself.
pub(crate) struct Kept {
    store: Option<Box<dyn KeyStore>>,
    key: Option<String>,
}

impl Kept {
    pub(crate) fn new(store: Option<Box<dyn KeyStore>>) -> Self {
        let key = store.as_ref().and_then(|store| store.load());
        Self { store, key }
    }

    /// Returns the key that was found at the beginning, or is kept now.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Keeps the key of the session that the client holds.
    pub(crate) fn keep(&mut self, key: &str) {
        if self.key.as_deref() != Some(key) {
            self.key = Some(key.into());
            if let Some(store) = &self.store {
                store.save(Some(key));
            }
        }
    }

    /// The session has ended. What another tab has put into the store since stays there.
    pub(crate) fn forget(&mut self) {
        let Some(key) = self.key.take() else { return };
        if let Some(store) = &self.store
            && store.load().is_none_or(|kept| kept == key)
        {
            store.save(None);
        }
    }
}
