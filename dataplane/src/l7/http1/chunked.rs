//! The chunked coding (RFC 9112 §7.1), byte-exact and bounded: sizes cannot overflow, extensions are read and dropped, lines
//! end in CRLF only, trailers are held to the rules of a head.

use super::field::forbidden_in_trailer;
use super::head::{self, MAX_FIELDS};
use crate::l7::reason::Reason;

/// Where in the grammar the decoder stands. A state machine over bytes, so that no split of the input can matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    /// After that many digits.
    Size(u8),
    /// White space before `;`.
    BeforeExtension,
    /// Within an extension.
    Extension(Extension),
    /// After the CR of a size line.
    SizeLf,
    /// Within data.
    Data,
    /// Expecting the CR after data.
    DataCr,
    /// Expecting the LF after data.
    DataLf,
    /// Within the trailer section.
    Trailer,
    /// All read.
    Done,
}

/// `chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    NameStart,
    Name,
    AfterName,
    ValueStart,
    Token,
    Quoted,
    QuotedPair,
    AfterValue,
}

/// Decoder of one body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    left: u64,
    extension_bytes: u32,
    trailer_limit: usize,
    trailers: Vec<u8>,
}

/// One step of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with, data included.
    pub consumed: usize,
    /// The last this many bytes of those consumed are data.
    pub data: usize,
    /// The body is complete; the trailers can be read.
    pub done: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { state: State::SizeStart, left: 0, extension_bytes: 0, trailer_limit: 8 << 10, trailers: Vec::new() }
    }
}

impl Decoder {
    /// Begins a new body; keeps the trailer buffer's memory.
    pub fn restart(&mut self, trailer_limit: usize) {
        self.trailers.clear();
        *self = Decoder { trailer_limit, trailers: core::mem::take(&mut self.trailers), ..Decoder::default() };
    }

    /// Decodes up to the end of the next run of data, of at most `max_data` bytes.
    ///
    /// # Errors
    /// [`Reason::MalformedChunk`], [`Reason::MalformedTrailer`], [`Reason::TrailerTooLarge`]. Nothing after the error can be framed.
    pub fn decode(&mut self, input: &[u8], max_data: usize) -> Result<Step, Reason> {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            match self.state {
                State::Data => {
                    let run = (input.len() - at).min(max_data).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= run as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Step { consumed: at + run, data: run, done: false });
                }
                State::Trailer => {
                    let done = self.trailer_byte(*byte)?;
                    at += 1;
                    if done {
                        self.state = State::Done;
                        break;
                    }
                }
                State::Done => break,
                _ => {
                    self.state = self.framing_byte(*byte)?;
                    at += 1;
                }
            }
        }
        Ok(Step { consumed: at, data: 0, done: self.state == State::Done })
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, Reason> {
        match (self.state, byte) {
            (State::SizeStart, _) if byte.is_ascii_hexdigit() => {
                self.left = hex(byte);
                Ok(State::Size(1))
            }
            // Sixteen digits always fit; leading zeros count, so that a size line stays short.
            (State::Size(digits), _) if byte.is_ascii_hexdigit() && digits < 16 => {
                self.left = self.left << 4 | hex(byte);
                Ok(State::Size(digits + 1))
            }
            (State::Size(_), b'\r') => Ok(State::SizeLf),
            (State::Size(_) | State::BeforeExtension, b';') => Ok(State::Extension(Extension::NameStart)),
            (State::Size(_) | State::BeforeExtension, b' ' | b'\t') => {
                self.count_extension()?;
                Ok(State::BeforeExtension)
            }
            (State::Extension(part), _) => {
                self.count_extension()?;
                extension_byte(part, byte)
            }
            (State::SizeLf, b'\n') if self.left == 0 => Ok(State::Trailer),
            (State::SizeLf, b'\n') => Ok(State::Data),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            _ => Err(Reason::MalformedChunk),
        }
    }

    /// Extensions are charged to the body as a whole: many small ones cost as much as a large one.
    fn count_extension(&mut self) -> Result<(), Reason> {
        self.extension_bytes += 1;
        if self.extension_bytes > MAX_EXTENSION_BYTES { Err(Reason::TrailerTooLarge) } else { Ok(()) }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<bool, Reason> {
        let after_cr = self.trailers.last() == Some(&b'\r');
        if after_cr != (byte == b'\n') {
            return Err(Reason::MalformedTrailer);
        }
        if self.trailers.len() >= self.trailer_limit.max(2) {
            return Err(Reason::TrailerTooLarge);
        }
        self.trailers.push(byte);
        let section = &self.trailers[..];
        if section == b"\r\n" {
            return Ok(true);
        }
        if !section.ends_with(b"\r\n\r\n") {
            return Ok(false);
        }
        let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(section, &mut table) {
            Ok(httparse::Status::Complete((end, _))) if end == section.len() => Ok(true),
            Err(httparse::Error::TooManyHeaders) => Err(Reason::TrailerTooLarge),
            _ => Err(Reason::MalformedTrailer),
        }
    }

    /// Appends to `out` what ends the coding: the last chunk, the trailer fields that may travel on, the empty line.
    pub fn encode_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"0\r\n");
        if self.trailers.len() > 2 {
            let mut table = [httparse::EMPTY_HEADER; MAX_FIELDS];
            if let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&self.trailers, &mut table) {
                for field in fields.iter().filter(|field| !forbidden_in_trailer(field.name.as_bytes())) {
                    out.extend_from_slice(field.name.as_bytes());
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(head::trim(field.value));
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn extension_byte(part: Extension, byte: u8) -> Result<State, Reason> {
    use Extension::*;
    let blank = matches!(byte, b' ' | b'\t');
    let next = match (part, byte) {
        (NameStart | ValueStart, _) if blank => part,
        (NameStart | Name, _) if is_token(byte) => Name,
        (Name | Token | AfterValue, b'\r') => return Ok(State::SizeLf),
        (Name | AfterName, b'=') => ValueStart,
        (Name | AfterName | Token | AfterValue, b';') => NameStart,
        (Name | AfterName, _) if blank => AfterName,
        (ValueStart, b'"') => Quoted,
        (ValueStart | Token, _) if is_token(byte) => Token,
        (Token | AfterValue, _) if blank => AfterValue,
        (Quoted, b'"') => AfterValue,
        (Quoted, b'\\') => QuotedPair,
        (Quoted, _) if blank || byte > b' ' && byte != 0x7f => Quoted,
        (QuotedPair, _) if blank || byte > b' ' && byte != 0x7f => Quoted,
        _ => return Err(Reason::MalformedChunk),
    };
    Ok(State::Extension(next))
}

/// Most bytes of chunk extensions in one body.
const MAX_EXTENSION_BYTES: u32 = 4096;

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn hex(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    })
}

/// Appends one chunk to `out`. `data` must not be empty: an empty chunk would end the body.
pub fn encode_chunk(data: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!data.is_empty());
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    let mut left = data.len();
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Most bytes that [`encode_chunk`] adds around data of up to `u32::MAX` bytes.
pub const CHUNK_OVERHEAD: usize = 12;
