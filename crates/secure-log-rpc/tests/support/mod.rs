//! What the tests of the contract share: a server that several clients use.

#![allow(dead_code, reason = "each test uses its part")]

use std::cell::RefCell;
use std::rc::Rc;

use secure_log::model::StreamHead;
use secure_log::store::{Object, ObjectKind, Row, SecureLogStore};
use secure_log_rpc::{CheckedStore, RemoteStore, Server, Transport, TransportError};

/// A server for several clients, one after another.
pub struct Shared<S>(Rc<RefCell<Server<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: SecureLogStore> Shared<CheckedStore<S>> {
    /// A checking server over `store`.
    pub fn checked(store: S) -> Self {
        Self(Rc::new(RefCell::new(Server::new(store))))
    }
}

impl<S: SecureLogStore> Shared<S> {
    /// A new client, which remembers nothing.
    pub fn client(&self) -> RemoteStore<Self> {
        RemoteStore::connect(self.clone(), "x").unwrap()
    }
}

impl<S: SecureLogStore> Transport for Shared<S> {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        Transport::call(&mut *self.0.borrow_mut(), method, params)
    }
}

/// Everything that a store holds, tiles apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    pub heads: Vec<StreamHead>,
    pub rows: Vec<Vec<Row>>,
    pub objects: Vec<Object>,
}

/// All rows of a stream, with payloads.
pub fn rows(store: &mut impl SecureLogStore, stream: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    loop {
        let page = store.read_rows(stream, rows.len() as u64 + 1, 1000, true).unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// Everything; for stores of fewer than 1,000 streams and objects of a kind.
pub fn contents(store: &mut impl SecureLogStore) -> Contents {
    let heads = store.list_heads(None, 1000).unwrap();
    let rows = heads.iter().map(|head| rows(store, &head.stream_id)).collect();
    let objects = ObjectKind::ALL
        .into_iter()
        .flat_map(|kind| store.list_objects(kind, "", None, 1000).unwrap())
        .collect();
    Contents { heads, rows, objects }
}
