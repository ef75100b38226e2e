//! HTTP/1.1 as strictly as it can be read, written without a look at the gateway's own parser.

use crate::{
    dice::mix,
    pattern::Key,
    plan::{Content, Framing},
    talk::{Intake, Line, Throttle, Trouble, wrong},
};
use tidegate_dataplane::l4::End;

/// A start line and its fields.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) start: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head; `None` if the peer closed before it.
    pub(crate) async fn read(intake: &mut Intake, line: &Line) -> Result<Option<Self>, Trouble> {
        let Some(start) = intake.line_or_end(line).await? else { return Ok(None) };
        let fields = fields(intake, line).await?;
        Ok(Some(Self { start, fields }))
    }

    /// The value of a field that may be there once.
    pub(crate) fn field(&self, name: &str) -> Result<Option<&str>, Trouble> {
        let mut values = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            Some(_) => wrong(&format!("{name} twice in {self:?}")),
            None => Ok(first),
        }
    }

    /// Whether `Connection` holds `option`.
    pub(crate) fn connection(&self, option: &str) -> Result<bool, Trouble> {
        let value = self.field("connection")?.unwrap_or_default();
        Ok(value.split(',').any(|part| part.trim().eq_ignore_ascii_case(option)))
    }

    /// How the message says it is delimited.
    pub(crate) fn framing(&self) -> Result<Option<(Framing, u64)>, Trouble> {
        let length = self.field("content-length")?;
        let coding = self.field("transfer-encoding")?;
        match (length, coding) {
            (Some(_), Some(_)) => wrong(&format!("two framings in {self:?}")),
            (None, Some("chunked")) => Ok(Some((Framing::Chunked, 0))),
            (None, Some(_)) => wrong(&format!("another transfer coding in {self:?}")),
            (Some(digits), None) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map(|len| Some((Framing::Length, len))).or_else(|_| wrong("a huge Content-Length"))
            }
            (Some(_), None) => wrong(&format!("a bad Content-Length in {self:?}")),
            (None, None) => Ok(None),
        }
    }

    /// Fails if a field is there that should not have been forwarded.
    pub(crate) fn lacks(&self, name: &str) -> Result<(), Trouble> {
        match self.field(name)? {
            Some(_) => wrong(&format!("{name} was forwarded: {self:?}")),
            None => Ok(()),
        }
    }

    /// Fails unless the field has this value.
    pub(crate) fn demand(&self, name: &str, value: &str) -> Result<(), Trouble> {
        match self.field(name)? {
            Some(found) if found == value => Ok(()),
            found => wrong(&format!("{name} is {found:?} instead of {value:?}: {self:?}")),
        }
    }
}

/// Field lines to the empty line.
async fn fields(intake: &mut Intake, line: &Line) -> Result<Vec<(String, String)>, Trouble> {
    let mut fields = Vec::new();
    loop {
        let text = intake.line(line).await?;
        if text.is_empty() {
            return Ok(fields);
        }
        let Some((name, value)) = text.split_once(':') else { return wrong(&format!("no field line: {text:?}")) };
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return wrong(&format!("no field name: {text:?}"));
        }
        fields.push((name.into(), value.trim_matches(' ').into()));
    }
}

/// Reads and checks a message's content, which must have `len` bytes.
pub(crate) async fn read_content(
    intake: &mut Intake,
    line: &Line,
    (key, len): (Key, u64),
    framing: (Framing, u64),
    throttle: &mut Throttle,
) -> Result<(), Trouble> {
    match framing {
        (Framing::Length, declared) if declared == len => intake.content(line, key, (0, len), throttle).await,
        (Framing::Length, declared) => wrong(&format!("{key:?} has {len} bytes, Content-Length is {declared}")),
        (Framing::Close, _) => {
            intake.content(line, key, (0, len), throttle).await?;
            if !intake.rest().is_empty() || intake.more(line, 1).await? {
                return wrong(&format!("{key:?} has more than {len} bytes"));
            }
            Ok(())
        }
        (Framing::Chunked, _) => read_chunks(intake, line, (key, len), throttle).await,
    }
}

async fn read_chunks(
    intake: &mut Intake,
    line: &Line,
    (key, len): (Key, u64),
    throttle: &mut Throttle,
) -> Result<(), Trouble> {
    let mut at = 0;
    loop {
        let text = intake.line(line).await?;
        let digits = text.split(';').next().unwrap_or_default();
        let Ok(size) = u64::from_str_radix(digits, 16) else { return wrong(&format!("no chunk size: {text:?}")) };
        if at + size > len {
            return wrong(&format!("{key:?} has more than {len} bytes"));
        }
        if size == 0 {
            break;
        }
        intake.content(line, key, (at, at + size), throttle).await?;
        at += size;
        if !intake.line(line).await?.is_empty() {
            return wrong("a chunk is longer than its size");
        }
    }
    let trailers = Head { start: String::new(), fields: fields(intake, line).await? };
    if let Some(value) = trailers.field("x-sim-trailer")?
        && value != format!("{key:?}")
    {
        return wrong(&format!("the trailer of another message: {value}"));
    }
    if at < len {
        return wrong(&format!("{key:?} seems complete after {at} of {len} bytes"));
    }
    Ok(())
}

/// The field line that announces the content.
pub(crate) fn announce(content: Content) -> String {
    match content.framing {
        Framing::Length => format!("Content-Length: {}\r\n", content.len),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".into(),
        Framing::Close => "Connection: close\r\n".into(),
    }
}

/// Writes content, only its first `stop` bytes if given; then the message is left incomplete. Chunks are cut at places that the key
/// decides.
pub(crate) async fn write_content(
    line: &Line,
    key: Key,
    content: Content,
    stop: Option<u64>,
    throttle: &mut Throttle,
) -> Result<(), End> {
    let end = stop.unwrap_or(content.len).min(content.len);
    if content.framing != Framing::Chunked {
        return line.write_content(key, 0, end, throttle).await;
    }
    let mut at = 0;
    while at < end {
        let chance = mix(at ^ content.len << 20);
        let size = (1 + chance % (1 << (1 + chance % 13))).min(content.len - at);
        let extension = if chance >> 60 == 0 { ";sim=\"1\"" } else { "" };
        line.write(format!("{size:x}{extension}\r\n").as_bytes()).await?;
        let until = (at + size).min(end);
        line.write_content(key, at, until, throttle).await?;
        at += size;
        if at <= end {
            line.write(b"\r\n").await?;
        }
    }
    if stop.is_none() {
        let trailer = if content.len.is_multiple_of(3) { format!("X-Sim-Trailer: {key:?}\r\n") } else { String::new() };
        line.write(format!("0\r\n{trailer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
