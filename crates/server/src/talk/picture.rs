//! Pictures in messages. No model here reads one; a provider's may.

use super::conversation::Picture;
use crate::error::ApiError;
use ingle_gateway::chat::Image;

/// The most pictures of a request.
pub(crate) const MAX_PICTURES: usize = 100;

/// A picture at a URL, or in one (`data:image/png;base64,...`); none where it is neither.
pub(crate) fn of_url(url: &str) -> Option<Image> {
    if let Some(data) = url.strip_prefix("data:") {
        let (media_type, base64) = data.split_once(";base64,")?;
        return inline(media_type, base64);
    }
    let at_place = url.starts_with("https://") || url.starts_with("http://");
    at_place.then(|| Image::Url(url.to_owned()))
}

/// A picture itself; none where it is no picture in base64.
pub(crate) fn inline(media_type: &str, base64: &str) -> Option<Image> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'+' | b'.');
    let kind = media_type.strip_prefix("image/")?;
    let known = !kind.is_empty() && kind.len() < 40 && kind.bytes().all(plain);
    let (body, end) = base64.split_at(base64.trim_end_matches('=').len());
    let digit = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    let whole = !body.is_empty() && end.len() <= 2 && base64.len().is_multiple_of(4);
    (known && whole && body.bytes().all(digit)).then(|| Image::Inline {
        media_type: media_type.to_owned(),
        base64: base64.to_owned(),
    })
}

/// A picture without its kind, which its first bytes say; none where it is none of a known kind.
pub(crate) fn of_bytes(base64: &str) -> Option<Image> {
    // The first bytes of files, in base64.
    let kinds = [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
    ];
    let kind = kinds.iter().find(|(begin, _)| base64.starts_with(begin));
    inline(kind?.1, base64)
}

/// Nobody reads what stands there: the picture itself is none, or the model reads none.
pub(crate) fn unread(path: &str) -> ApiError {
    let message = format!("`{path}`: this model reads no images; send text");
    ApiError::unsupported(path, message)
}

/// Whoever answers here reads none.
pub(super) fn refuse(pictures: &[Picture]) -> Result<(), ApiError> {
    match pictures.first() {
        None => Ok(()),
        Some(picture) => Err(unread(&picture.path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_a_url_or_base64() {
        let png = "iVBORw0KGgo=";
        let inline = Image::Inline {
            media_type: "image/png".into(),
            base64: png.into(),
        };
        let data = format!("data:image/png;base64,{png}");
        assert_eq!(of_url(&data), Some(inline.clone()));
        assert_eq!(of_bytes(png), Some(inline));
        let url = "https://a.example/x.png";
        assert_eq!(of_url(url), Some(Image::Url(url.into())));
        for wrong in [
            "",
            "file:///etc/passwd",
            "data:text/html;base64,AAAA",
            "data:image/png;base64,",
            "data:image/png;base64,AAA",
            "data:image/png;base64,AA A",
            "data:image/png,AAAA",
        ] {
            assert_eq!(of_url(wrong), None, "{wrong}");
        }
        assert_eq!(of_bytes("AAAA"), None);
    }
}
