//! The endpoint in this process: an instance for each request, as `wasmtime serve` makes them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wasmtime::Store;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::Settings;
use crate::host::Artifact;

/// A running endpoint. It ends when this is dropped, in the middle of whatever it does.
pub struct Endpoint {
    runtime: Option<Runtime>,
    url: String,
}

impl Endpoint {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(settings: &Settings) -> anyhow::Result<Self> {
        let artifact = Artifact::load(&settings.artifact)?;
        let mut linker = Linker::new(artifact.engine());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(anyhow::Error::msg)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(anyhow::Error::msg)?;
        let pre = linker
            .instantiate_pre(artifact.component())
            .and_then(ProxyPre::new)
            .map_err(anyhow::Error::msg)?;
        let server = Arc::new(Server { pre, settings: settings.clone() });
        // Opened once before anybody calls, so that a wrong directory shows here.
        server.state()?;

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the endpoint's threads")?;
        let listener = runtime
            .block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))
            .context("cannot listen on 127.0.0.1")?;
        let url = format!("http://{}", listener.local_addr()?);
        runtime.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let server = server.clone();
                        async move { server.answer(request).await }
                    });
                    // An error here is a caller that went away.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
                });
            }
        });
        Ok(Self { runtime: Some(runtime), url })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Server {
    pre: ProxyPre<State>,
    settings: Settings,
}

impl Server {
    fn state(&self) -> anyhow::Result<State> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(&self.settings.variables()).inherit_stderr();
        for (host, guest) in self.settings.directories() {
            wasi.preopened_dir(host, guest, FsPerms::ReadWrite)
                .map_err(|e| anyhow::anyhow!("cannot open the directory {}: {e:#}", host.display()))?;
        }
        Ok(State { wasi: wasi.build(), http: WasiHttpCtx::new(), table: ResourceTable::new() })
    }

    async fn answer(&self, request: Request<Incoming>) -> anyhow::Result<Response<HyperOutgoingBody>> {
        let mut store = Store::new(self.pre.engine(), self.state()?);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let request = store
            .data_mut()
            .http()
            .new_incoming_request(Scheme::Http, request)
            .map_err(anyhow::Error::msg)?;
        let out = store.data_mut().http().new_response_outparam(sender).map_err(anyhow::Error::msg)?;
        let pre = self.pre.clone();
        // A task of its own: the guest goes on after its answer has begun.
        let task = tokio::spawn(async move {
            let proxy = pre.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
        });
        match receiver.await {
            Ok(answer) => answer.map_err(|code| anyhow::anyhow!("the endpoint answered with {code:?}")),
            Err(_) => {
                let ended = task.await.context("the endpoint's task ended")?;
                ended.map_err(|trap| anyhow::anyhow!("the endpoint trapped: {trap:#}"))?;
                anyhow::bail!("the endpoint gave no answer")
            }
        }
    }
}

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: Default::default() }
    }
}
