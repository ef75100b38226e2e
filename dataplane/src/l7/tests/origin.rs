//! An origin for tests: answers by path, echoes content, records what it understood.

use core::cell::RefCell;
use core::future::poll_fn;
use std::rc::Rc;

use crate::l7::http1::chunked::{Decoder, encode_chunk};
use crate::l7::http1::{Body, Limits, RequestHead};
use crate::l7::scratch::HeadBytes;
use crate::l7::stream::{ByteStream, Duplex};

/// What an origin understood: `method path` and content of each request.
pub(super) type Understood = Rc<RefCell<Vec<(String, Vec<u8>)>>>;

/// Serves one connection: `/length`, `/chunked` or `/close` decide how the echo is framed.
pub(super) async fn serve(mut stream: Duplex, understood: Understood) {
    let mut head = HeadBytes::default();
    let mut request = RequestHead::default();
    loop {
        head.clear();
        let Ok(len) = poll_fn(|cx| head.poll_read(cx, &mut stream, 1 << 16)).await else { return };
        request.parse(head.bytes(), len, &Limits::default()).expect("only sound requests are forwarded");
        let path = String::from_utf8_lossy(request.path.of_head(head.bytes())).into_owned();
        let method = String::from_utf8_lossy(request.method_name.of_head(head.bytes())).into_owned();
        let Some(content) = read_content(&mut stream, request.body).await else { return };
        understood.borrow_mut().push((format!("{method} {path}"), content.clone()));
        let mut out = b"HTTP/1.1 200 OK\r\nDate: x\r\n".to_vec();
        match path.as_str() {
            "/chunked" => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                content.chunks(700).for_each(|chunk| encode_chunk(chunk, &mut out));
                out.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\n");
            }
            "/close" => {
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&content);
            }
            _ => {
                out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes());
                out.extend_from_slice(&content);
            }
        }
        if stream.write_all(&out).await.is_err() || path == "/close" {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn read_content(stream: &mut Duplex, body: Body) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    match body {
        Body::None | Body::UntilClose => {}
        Body::Length(length) => {
            while content.len() < length as usize {
                let most = buffer.len().min(length as usize - content.len());
                match stream.read(&mut buffer[..most]).await {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => content.extend_from_slice(&buffer[..read]),
                }
            }
        }
        Body::Chunked => {
            let mut decoder = Decoder::default();
            loop {
                let step = poll_fn(|cx| {
                    stream.poll_fill(cx).map(|filled| {
                        let filled = filled.ok().filter(|bytes| !bytes.is_empty())?;
                        let step = decoder.decode(filled, usize::MAX).expect("only sound chunks are forwarded");
                        content.extend_from_slice(&filled[step.consumed - step.data..step.consumed]);
                        Some(step)
                    })
                })
                .await?;
                stream.consume(step.consumed);
                if step.done {
                    break;
                }
            }
        }
    }
    Some(content)
}
