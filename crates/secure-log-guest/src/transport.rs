//! Transports, from both sides of the seam.

use std::marker::PhantomData;

use secure_log_rpc::{Transport, TransportError};

use crate::HasSlot;
use crate::transport_import::secure_log::log::transport as imported;
use crate::transport_world::exports::secure_log::log::transport as exported;

/// The transport that is plugged into the component.
#[derive(Default)]
pub struct ImportedTransport;

impl Transport for ImportedTransport {
    fn call(&mut self, method: &str, params: &str) -> Result<String, TransportError> {
        use imported::TransportError as E;
        imported::rpc(method, params).map_err(|error| match error {
            E::Unavailable(text) => TransportError::Unavailable(text),
            E::Denied(text) => TransportError::Denied(text),
            E::Invalid(text) => TransportError::Invalid(text),
            E::Failed(failure) => TransportError::Failed { status: failure.status, body: failure.body },
        })
    }
}

/// The exports of a transport component, over the transport in `S`'s slot.
pub struct TransportComponent<S>(PhantomData<S>);

impl<S: HasSlot<Value: Transport + Default>> exported::Guest for TransportComponent<S> {
    fn rpc(method: String, params_json: String) -> Result<String, exported::TransportError> {
        use exported::TransportError as E;
        let called = S::with(|slot| {
            slot.enter(|transport| transport.get_or_insert_default().call(&method, &params_json))
        });
        let called = called.unwrap_or_else(|| {
            Err(TransportError::Unavailable("the transport is in the middle of another call".into()))
        });
        called.map_err(|error| match error {
            TransportError::Unavailable(text) => E::Unavailable(text),
            TransportError::Denied(text) => E::Denied(text),
            TransportError::Invalid(text) => E::Invalid(text),
            TransportError::Failed { status, body } => E::Failed(exported::RpcFailure { status, body }),
        })
    }
}
