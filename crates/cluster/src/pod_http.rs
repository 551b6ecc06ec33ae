//! One HTTP request to a port of a pod: at its address, or through a forwarded port.

use std::{net::IpAddr, time::Duration};

use http::{StatusCode, header, request::Builder};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::connect::Cluster;

/// A page of metrics is far shorter.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long the pod may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// The status and the body of an answer.
pub(crate) type Answer = (StatusCode, Vec<u8>);

/// From a place that reaches pods: inside the cluster.
pub(crate) async fn directly(
    ip: IpAddr,
    port: u16,
    request: Builder,
    body: String,
) -> Result<Answer, String> {
    let asked = async {
        let stream = TcpStream::connect((ip, port)).await;
        exchange(stream.map_err(|error| format!("port {port} of {ip}: {error}"))?, request, body).await
    };
    in_time(port, asked).await
}

/// Through the API server, which connects to the loopback address in the pod.
pub(crate) async fn forwarded(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    request: Builder,
    body: String,
) -> Result<Answer, String> {
    let asked = async {
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let opened = cluster.try_ask(api.portforward(pod, &[port])).await;
        let mut forwarder = opened.map_err(|call| call.words())?;
        let stream = forwarder.take_stream(port).ok_or("its port is not forwarded")?;
        exchange(stream, request, body).await
    };
    in_time(port, asked).await
}

async fn in_time(port: u16, asked: impl Future<Output = Result<Answer, String>>) -> Result<Answer, String> {
    tokio::time::timeout(ANSWER, asked)
        .await
        .map_err(|_| format!("no answer from port {port} within {} s", ANSWER.as_secs()))?
}

/// Sends one request on its own connection.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Builder,
    body: String,
) -> Result<Answer, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // The connection ends with its sender and the body.
    tokio::spawn(connection);
    let request = request
        .header(header::HOST, "pod")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok((status, body.map_err(|error| error.to_string())?.to_bytes().to_vec()))
}
