//! HTTP/1.1 framing (RFC 9112), without I/O: bytes in, checked heads and bodies out. What two conforming readers could
//! understand differently is refused here, so that nothing ambiguous is ever forwarded.

pub mod chunked;
pub mod encode;
pub mod field;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod request;
pub mod response;
pub mod target;

#[cfg(test)]
mod tests;

pub use framing::Body;
pub use head::{Limits, Scanner, Span};
pub use request::{Method, RequestHead, Version};
pub use response::ResponseHead;
