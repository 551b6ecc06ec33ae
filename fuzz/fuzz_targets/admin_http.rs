//! Requests to an admin port. Whatever they are: the answer is HTTP, or there is none, and the text of a page is UTF-8.
#![no_main]

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::LazyLock,
    task::{Context, Poll},
};

use libfuzzer_sys::fuzz_target;
use service::{Readiness, admin::Pages};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
});

/// Sends the input, then its end; keeps the answer.
struct Client {
    input: Vec<u8>,
    answer: Rc<RefCell<Vec<u8>>>,
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let piece = self.input.len().min(buffer.remaining());
        buffer.put_slice(&self.input[..piece]);
        self.input.drain(..piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.answer.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fuzz_target!(|request: &[u8]| {
    let readiness = Readiness::new();
    readiness.ready();
    let pages = Pages::new(readiness, Default::default()).with_info("tcp", "tcp-0", None);
    let answer = Rc::new(RefCell::new(Vec::new()));
    let client = Client { input: request.to_vec(), answer: Rc::clone(&answer) };
    let served = RUNTIME.block_on(async {
        // The end of the input ends the connection: nothing here waits for a timeout.
        pages.answer(client).await
    });
    let answer = answer.borrow();
    let text = std::str::from_utf8(&answer).expect("pages are text");
    assert!(text.is_empty() || text.starts_with("HTTP/1."), "{text}");
    if served.is_ok() && request.starts_with(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") {
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("ok\n"), "{text}");
    }
});
