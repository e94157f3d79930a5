//! A line of an access log: Apache's combined format, with the time that the answer took behind it, in microseconds (`%D`).

use std::fmt;

use elastic_flow::prelude::Text;

/// The months as the log has them.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What the report needs of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The hour in UTC, such as `2026-11-24T13`.
    pub(crate) hour: Text,
    /// The first part of the path.
    pub(crate) path: Text,
    /// The status of the answer.
    pub(crate) status: u16,
    /// Microseconds that the answer took.
    pub(crate) micros: u64,
}

/// Why a line is none of an access log. It names the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LineError {
    /// It ends before this field.
    Missing(&'static str),
    /// This field has a text that it cannot have.
    Wrong(&'static str, String),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "the line has no {field}"),
            Self::Wrong(field, text) => write!(f, "the {field} is {text:?}"),
        }
    }
}

impl std::error::Error for LineError {}

impl Request {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Result<Self, LineError> {
        // client identity user [time] "request" status bytes "referer" "agent" micros
        let (_, rest) = line.split_once(" [").ok_or(LineError::Missing("time"))?;
        let (time, rest) = rest.split_once("] \"").ok_or(LineError::Missing("request"))?;
        let (request, rest) = rest.split_once("\" ").ok_or(LineError::Missing("status"))?;
        let (status, rest) = rest.split_once(' ').ok_or(LineError::Missing("number of bytes"))?;
        let (_, rest) = rest.split_once(" \"").ok_or(LineError::Missing("referer"))?;
        let (_, rest) = rest.split_once("\" \"").ok_or(LineError::Missing("agent"))?;
        let (_, micros) = rest.rsplit_once("\" ").ok_or(LineError::Missing("time that the answer took"))?;
        Ok(Self {
            hour: hour(time).ok_or_else(|| LineError::Wrong("time", time.to_owned()))?,
            path: path(request).ok_or_else(|| LineError::Wrong("request", request.to_owned()))?,
            status: status.parse().map_err(|_| LineError::Wrong("status", status.to_owned()))?,
            micros: micros.parse().map_err(|_| LineError::Wrong("time that the answer took", micros.to_owned()))?,
        })
    }
}

/// The hour of a time such as `24/Nov/2026:13:55:36 +0000`. These servers log in UTC.
fn hour(time: &str) -> Option<Text> {
    let (day, rest) = time.strip_suffix(" +0000")?.split_once('/')?;
    let (month, rest) = rest.split_once('/')?;
    let (year, clock) = rest.split_once(':')?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (hour, _) = clock.split_once(':')?;
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|it| it.is_ascii_digit())).then(|| text.parse::<u32>().ok())?
    };
    let (year, day, hour) = (number(year, 4)?, number(day, 2)?, number(hour, 2)?);
    ((1..=31).contains(&day) && hour < 24).then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}").into())
}

/// The first part of the path of a request such as `GET /cart/7 HTTP/1.1`.
fn path(request: &str) -> Option<Text> {
    let path = request.split(' ').nth(1)?.strip_prefix('/')?;
    Some(path.split(['/', '?']).next().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "203.0.113.7 - - [24/Nov/2026:13:55:36 +0000] \"GET /cart/7?x=1 HTTP/1.1\" 200 5316 \
                        \"https://example.com/\" \"Mozilla/5.0 (X11; Linux)\" 18211";

    #[test]
    fn a_line_is_read_to_what_the_report_needs() {
        let expected = Request { hour: "2026-11-24T13".into(), path: "cart".into(), status: 200, micros: 18_211 };
        assert_eq!(Request::parse(LINE), Ok(expected.clone()));
        let with_quotes = LINE.replace("Mozilla", "\\\"Mozilla\\\" ");
        assert_eq!(Request::parse(&with_quotes), Ok(expected));
        assert_eq!(Request::parse(&LINE.replace("/cart/7?x=1", "/")).unwrap().path, "");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        let wrong = |from: &str, to: &str| Request::parse(&LINE.replace(from, to)).unwrap_err().to_string();
        assert_eq!(wrong("18211", "1x8211"), "the time that the answer took is \"1x8211\"");
        assert_eq!(wrong("18211", "-"), "the time that the answer took is \"-\"");
        assert_eq!(wrong("200", "2OO"), "the status is \"2OO\"");
        assert_eq!(wrong("Nov", "Nev"), "the time is \"24/Nev/2026:13:55:36 +0000\"");
        assert_eq!(wrong(":13:", ":24:"), "the time is \"24/Nov/2026:24:55:36 +0000\"");
        assert_eq!(wrong("+0000", "+0100"), "the time is \"24/Nov/2026:13:55:36 +0100\"");
        assert_eq!(wrong("GET /", "GET "), "the request is \"GET cart/7?x=1 HTTP/1.1\"");
    }

    #[test]
    fn a_line_that_is_cut_off_anywhere_before_its_last_number_is_none() {
        let last = LINE.rfind(' ').unwrap();
        for length in 0..=last {
            assert!(Request::parse(&LINE[..length]).is_err(), "{}", &LINE[..length]);
        }
    }
}
