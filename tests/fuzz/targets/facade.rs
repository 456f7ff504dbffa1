//! Bodies of the old APIs, from their bytes to a plan and back.

use dispatch::{fuzzing, pb::v1::CreateWorkflowRequest};

use super::workflow::{NOW, PERSON, ROUTES};

/// A body of `POST /v0.1/dispatch`, or, after the letter `m`, of `POST /v1/messages`.
pub fn facade(data: &[u8]) {
    let (is_v1, body) = data.strip_prefix(b"m").map_or((false, data), |rest| (true, rest));
    match fuzzing::facade(is_v1, body, &ROUTES, NOW) {
        Ok((mut asked, warnings)) => {
            assert!(warnings.len() <= 21, "an answer's headers are bounded");
            for text in warnings {
                assert!(text.is_ascii() && !text.contains(PERSON), "{text}");
            }
            let workflow = Some(fuzzing::spec(&asked));
            // Only the old API has one.
            asked.contents.webhook_url = None;
            let again = CreateWorkflowRequest { workflow, ..CreateWorkflowRequest::default() };
            assert_eq!(
                fuzzing::plan(&again, &ROUTES, NOW).as_ref(),
                Ok(&asked),
                "gRPC takes it too"
            );
        }
        Err(problem) => {
            assert!(problem.len() < 32 * 1024 && !problem.contains(PERSON), "{problem}");
            let says_why = problem.contains("invalid-json") || problem.contains("\"reason\"");
            assert!(says_why, "{problem}");
        }
    }
}
