//! `GET /{ctx}/api/v1/_sandbox/feed?rows=1000000`: a list as long as wanted, full of links, made while it is sent. Not of SuperOffice.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};

use super::reply::{self, BoxError, Reply};
use super::webapi::Call;

/// Rows that are made at once: some 16 KB.
const BATCH: u64 = 128;

pub(super) fn handle(call: &Call<'_>) -> Reply {
    let Some(rows) = call.query().get("rows").and_then(|rows| rows.parse().ok()) else {
        return reply::aspnet(StatusCode::BAD_REQUEST, "rows is a number");
    };
    let mut reply = Response::new(reply::boxed(Feed { api: call.api.clone(), next: 0, rows, ended: false }));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    reply
}

/// One row, as text, for tests that know the whole feed beforehand.
pub fn row(api: &str, id: u64) -> String {
    format!("{{\"PrimaryKey\":\"{id}\",\"name\":\"Row {id}\",\"_Links\":{{\"Self\":\"{api}/Contact/{id}\"}}}}")
}

struct Feed {
    api: String,
    next: u64,
    rows: u64,
    ended: bool,
}

impl Body for Feed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut text = String::new();
        if self.next == 0 {
            text.push_str(&format!("{{\"odata.metadata\":\"{}/Contact/$metadata\",\"value\":[", self.api));
        }
        let until = self.rows.min(self.next + BATCH);
        for id in self.next..until {
            text.push_str(if id == 0 { "" } else { "," });
            text.push_str(&row(&self.api, id));
        }
        self.next = until;
        if until == self.rows {
            text.push_str(&format!("],\"odata.nextLink\":\"{}/Contact?$skip={until}\"}}", self.api));
            self.ended = true;
        }
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::Value;

    #[tokio::test]
    async fn a_feed_is_a_list_of_any_length() {
        for rows in [0, 1, BATCH, BATCH + 1, 1000] {
            let feed = Feed { api: "http://h/Cust1/api/v1".into(), next: 0, rows, ended: false };
            let text = feed.collect().await.unwrap().to_bytes();
            let list: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(list["value"].as_array().unwrap().len() as u64, rows);
            assert_eq!(list["odata.nextLink"], format!("http://h/Cust1/api/v1/Contact?$skip={rows}"));
        }
    }
}
