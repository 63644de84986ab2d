//! Messages with files come as `multipart/form-data`. Names and sizes of files are kept, bytes are not.

use serde_json::{Value, json};

use crate::discord::error::ApiError;

/// Parts of one form: its JSON and ten files.
const MAX_PARTS: usize = 11;

/// The boundary of a form, when the content type names one.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|one| one.trim().strip_prefix("boundary="))?;
    Some(boundary.trim_matches('"').to_owned())
}

/// The JSON of a form, with its files as `attachments`.
///
/// # Errors
/// When it is no form, or its JSON is none.
pub fn read(body: &[u8], boundary: &str) -> Result<Value, ApiError> {
    let mut json = json!({});
    let mut files = Vec::new();
    for part in parts(body, boundary).take(MAX_PARTS) {
        let (head, data) = part.ok_or(ApiError::INVALID_JSON)?;
        let name = parameter(&head, "name").unwrap_or_default();
        match (name.as_str(), parameter(&head, "filename")) {
            ("payload_json", _) => {
                json = serde_json::from_slice(data).map_err(|_| ApiError::INVALID_JSON)?;
            }
            (_, Some(filename)) => files.push((name, filename, data.len())),
            (_, None) => json[name] = json!(String::from_utf8_lossy(data)),
        }
    }
    if !files.is_empty() {
        let files = files.into_iter().enumerate().map(|(n, (_, filename, size))| {
            let url = format!("attachment://{filename}");
            json!({ "id": n.to_string(), "filename": filename, "size": size, "url": url, "proxy_url": url })
        });
        json["attachments"] = files.collect();
    }
    Ok(json)
}

/// Each part as its head and its bytes; none where a part is malformed.
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = Option<(String, &'a [u8])>> {
    let mark = format!("--{boundary}").into_bytes();
    let mut rest = find(body, &mark).and_then(|at| body.get(at + mark.len()..));
    std::iter::from_fn(move || {
        let begin = rest.take()?;
        if begin.starts_with(b"--") {
            return None;
        }
        let Some(end) = find(begin, &mark) else { return Some(None) };
        rest = begin.get(end + mark.len()..);
        // A part begins after a line break and ends before one.
        let part = begin.get(2..end.saturating_sub(2)).unwrap_or_default();
        let split = find(part, b"\r\n\r\n")?;
        let (head, data) = part.split_at(split);
        Some(Some((String::from_utf8_lossy(head).into_owned(), data.get(4..).unwrap_or_default())))
    })
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}

fn parameter(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let value = line.split(';').find_map(|one| one.trim().strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_with_a_file_becomes_json_with_an_attachment() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"payload_json\"\r\n\r\n{\"content\":\"hi\"}\r\n\
                    --x\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"a.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\nabc\r\n--x--\r\n";
        let boundary = boundary("multipart/form-data; boundary=x").unwrap();
        let json = read(body.as_bytes(), &boundary).unwrap();
        assert_eq!(json["content"], "hi");
        assert_eq!(json["attachments"][0]["filename"], "a.txt");
        assert_eq!(json["attachments"][0]["size"], 3);
    }

    proptest::proptest! {
        #[test]
        fn no_body_can_break_it(body: Vec<u8>, text in "(--x|\\r\\n|[a-z\"=;:]|name=){0,40}") {
            let _ = read(&body, "x");
            let _ = read(text.as_bytes(), "x");
        }
    }
}
