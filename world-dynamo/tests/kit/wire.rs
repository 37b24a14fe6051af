//! An HTTP client that loses, delays, cuts and makes up answers, and notes what was asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
    shared::IntoShared,
};
use aws_smithy_types::body::SdkBody;
use http_body_util::StreamBody;
use serde_json::{Value, json};

/// What happens to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It does not arrive.
    Lost,
    /// It arrives, and its answer does not.
    AnswerLost,
    /// It arrives, and the connection is closed before the answer: hyper's word for that is another.
    AnswerUnsent,
    /// It arrives, and the connection breaks in the middle of the answer's body.
    AnswerCut,
    /// It arrives, and the answer is that of a service with trouble of its own.
    AnswerIs500,
    /// It does not arrive, and this is the answer: status, code, message.
    Refused(u16, &'static str, &'static str),
    /// It does not arrive, and this is the whole answer.
    Says(u16, String),
    /// A transaction does not arrive, and is cancelled for this reason.
    Cancelled(&'static str),
    /// A batch does not arrive, and all that it asks for is said to be unprocessed.
    Unprocessed,
    /// It never ends.
    Silence,
    /// It arrives so much later; whoever has sent it need not be there any more.
    Late(Duration),
}

/// What was asked: the operation, and the sort key that it names, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub operation: String,
    pub sort: String,
}

#[derive(Debug, Default)]
struct Plan {
    /// What is to happen, one fault a request: to those that begin with this, in order.
    faults: Vec<(String, VecDeque<Fault>)>,
    /// What is to happen to all requests that begin with this.
    always: Vec<(String, Fault)>,
    asked: Vec<Asked>,
}

/// The client, by its plan; clones share it.
#[derive(Clone, Debug)]
pub struct Wire {
    plan: Arc<Mutex<Plan>>,
    inner: aws_smithy_runtime_api::client::http::SharedHttpClient,
}

impl Default for Wire {
    fn default() -> Self {
        let inner = aws_smithy_http_client::Builder::new().build_http();
        Self { plan: Arc::default(), inner }
    }
}

impl Wire {
    /// The next requests that begin with this meet these faults, in order: an operation, or also the
    /// sort key that it names, as in `PutItem head`.
    pub fn next(&self, begin: &str, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.plan.lock().unwrap().faults.push((begin.to_owned(), faults));
    }

    /// All requests that begin with this meet this fault, until [`Wire::clear`].
    pub fn always(&self, begin: &str, fault: Fault) {
        self.plan.lock().unwrap().always.push((begin.to_owned(), fault));
    }

    /// Nothing happens any more; gives what was asked since the last time.
    pub fn clear(&self) -> Vec<Asked> {
        let mut plan = self.plan.lock().unwrap();
        std::mem::take(&mut *plan).asked
    }

    /// Whether every fault that was planned has happened.
    pub fn is_done(&self) -> bool {
        self.plan.lock().unwrap().faults.iter().all(|(_, faults)| faults.is_empty())
    }

    fn fault(&self, request: &HttpRequest) -> Option<Fault> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = request
            .body()
            .bytes()
            .map_or(Value::Null, |bytes| serde_json::from_slice(bytes).unwrap_or(Value::Null));
        let of = |name: &str| body[name]["sk"]["S"].as_str().map(str::to_owned);
        let sort = of("Key").or_else(|| of("Item")).unwrap_or_default();
        let request = format!("{operation} {sort}");
        let mut plan = self.plan.lock().unwrap();
        plan.asked.push(Asked { operation, sort });
        let always = plan.always.iter().find(|(begin, _)| request.starts_with(begin));
        let always = always.map(|(_, fault)| fault.clone());
        let mut faults = plan.faults.iter_mut();
        let planned =
            faults.find(|(begin, left)| request.starts_with(&**begin) && !left.is_empty());
        planned.and_then(|(_, left)| left.pop_front()).or(always)
    }
}

impl HttpClient for Wire {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        Connector { wire: self.clone(), inner }.into_shared()
    }
}

#[derive(Debug)]
struct Connector {
    wire: Wire,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(fault) = self.wire.fault(&request) else { return self.inner.call(request) };
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move { meet(fault, request, &inner).await })
    }
}

async fn meet(
    fault: Fault,
    request: HttpRequest,
    inner: &SharedHttpConnector,
) -> Result<HttpResponse, ConnectorError> {
    let broken = || ConnectorError::io("the connection broke".into());
    match fault {
        Fault::Lost => Err(broken()),
        Fault::Silence => std::future::pending().await,
        Fault::Late(time) => {
            let inner = inner.clone();
            let late = tokio::spawn(async move {
                tokio::time::sleep(time).await;
                inner.call(request).await
            });
            late.await.map_err(|error| ConnectorError::other(error.into(), None))?
        }
        Fault::AnswerLost => {
            inner.call(request).await?;
            Err(broken())
        }
        Fault::AnswerUnsent => {
            inner.call(request).await?;
            let transient = Some(aws_smithy_types::retry::ErrorKind::TransientError);
            Err(ConnectorError::other("incomplete message".into(), transient))
        }
        Fault::AnswerCut => {
            let answer = inner.call(request).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let parts: [Result<http_body::Frame<bytes::Bytes>, std::io::Error>; 2] = [
                Ok(http_body::Frame::data(bytes::Bytes::from_static(b"{"))),
                Err(std::io::ErrorKind::ConnectionReset.into()),
            ];
            let body = StreamBody::new(futures::stream::iter(parts));
            let mut cut = HttpResponse::new(status, SdkBody::from_body_1_x(body));
            *cut.headers_mut() = headers;
            Ok(cut)
        }
        Fault::AnswerIs500 => {
            inner.call(request).await?;
            Ok(answer(500, &refusal("InternalServerError", "try again")))
        }
        Fault::Refused(status, code, message) => Ok(answer(status, &refusal(code, message))),
        Fault::Says(status, body) => Ok(answer(status, &body)),
        Fault::Cancelled(reason) => {
            let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            let count = body["TransactItems"].as_array().map_or(1, Vec::len);
            let reasons: Vec<Value> = (0..count)
                .map(|item| json!({ "Code": if item == 0 { reason } else { "None" } }))
                .collect();
            let said = json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "Transaction cancelled",
                "CancellationReasons": reasons,
            });
            Ok(answer(400, &said.to_string()))
        }
        Fault::Unprocessed => {
            let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            let tables = body["RequestItems"].as_object().unwrap();
            let (table, requests) = tables.iter().next().unwrap();
            let said = json!({ "UnprocessedItems": { table: requests } });
            Ok(answer(200, &said.to_string()))
        }
    }
}

fn refusal(code: &str, message: &str) -> String {
    json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message })
        .to_string()
}

fn answer(status: u16, body: &str) -> HttpResponse {
    let status = StatusCode::try_from(status).unwrap();
    let mut answer = HttpResponse::new(status, SdkBody::from(body));
    answer.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    answer
}
