//! `GET /api/v1/export`: all traces of which a span matches, streamed in a format of other tools.
//!
//! A response that ends without an error is complete, except for blocks that were known to be damaged before it began:
//! a header counts them. If the export finds further damage, it breaks the response at the end, so that no client takes
//! a part for the whole. The next export counts that block in its header.

use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderName, HeaderValue, Uri};
use spandrel_proto::TenantId;
use spandrel_storage::plan::ScanPlan;
use spandrel_storage::{TraceScan, TraceStore};

use super::handler::{Answer, Asked};
use crate::export::ExportFormat;
use crate::params::Params;
use crate::problem::Problem;
use crate::{question, times};

const PARAMETERS: [&str; 4] = ["format", "q", "start", "end"];

const FORMATS: [(&str, ExportFormat); 4] = [
    ("otlp", ExportFormat::Otlp),
    ("otlp-json", ExportFormat::Otlp),
    ("jaeger", ExportFormat::Jaeger),
    ("parquet", ExportFormat::Parquet),
];

/// An upper bound on the number of traces, by which clients show progress.
const TRACES_AT_MOST: HeaderName = HeaderName::from_static("spandrel-traces-at-most");
/// Damaged blocks whose spans are missing.
const DAMAGED_BLOCKS: HeaderName = HeaderName::from_static("spandrel-damaged-blocks");

/// State of the store before the first trace is read.
#[derive(Clone, Copy)]
struct Known {
    /// `None` for a caller who must not know.
    traces_at_most: Option<u64>,
    /// Damaged blocks, whose spans will be missing.
    damaged_blocks: u64,
}

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let format = params.choice("format", ExportFormat::Otlp, &FORMATS)?;
    let predicate = question::predicate(params.text("q").unwrap_or_default())
        .map_err(|error| Problem::parameter("q", error))?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let plan = ScanPlan { predicate, range };
    let known = state.run_query({
        let (tenant, plan) = (tenant.clone(), plan.clone());
        move |store| Known::before(store, &tenant, &plan)
    });
    let known = known.await?;
    let store = state.store();
    let write = move |out: &mut _| {
        let mut scan = store.scan(&tenant, &plan)?;
        format.write(out, &mut scan)?;
        let is_told = scan.damaged_blocks <= known.damaged_blocks && scan.damage().new_blocks() == 0;
        if is_told { Ok(()) } else { Err(damaged().into()) }
    };
    let mut response = state.stream(format.content_type(), write).await?;
    let headers = response.headers_mut();
    if let Some(traces) = known.traces_at_most {
        headers.insert(TRACES_AT_MOST, traces.into());
    }
    headers.insert(DAMAGED_BLOCKS, known.damaged_blocks.into());
    let file = format!("attachment; filename=\"{}\"", format.file_name());
    if let Ok(file) = HeaderValue::try_from(file) {
        headers.insert(CONTENT_DISPOSITION, file);
    }
    Ok(response)
}

// === impl Known ===

impl Known {
    fn before(store: &dyn TraceStore, tenant: &TenantId, plan: &ScanPlan) -> Result<Self, Problem> {
        let TraceScan { traces_at_most, damaged_blocks, .. } = store.scan(tenant, plan)?;
        Ok(Self { traces_at_most, damaged_blocks })
    }
}

fn damaged() -> Problem {
    Problem::unreadable(
        "a damaged block was met; it is set aside now, and the log of the server names it: \
         ask again for everything else",
    )
}
