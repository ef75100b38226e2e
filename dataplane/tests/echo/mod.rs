//! An application for tests.

use tidegate_dataplane::{
    l4::TcpStream,
    l7::{
        app::{App, Host},
        stream::ByteStream,
    },
};

/// Sends back what comes, and closes when the peer does.
pub(crate) struct Echo;

impl App for Echo {
    fn accept(&mut self, host: &Host, mut stream: TcpStream) {
        host.exec.spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
            let _ = stream.shutdown().await;
        });
    }
}
