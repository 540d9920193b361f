// What the ledger says of a run: the SHA-256 of all that cannot change once it has ended. Not its name, tags and
// notices, nor the single points and rows of its metrics (their summaries are in it).
//
// The hash is of canonical JSON: keys sorted, no blanks; columns of runner.db that are JSON go in as the text they are.
//   {"artifacts": {NAME: SHA-256}, "attempt", "attempts": [[number, started, ended, reason]], "created", "definition",
//    "ended", "environment", "error", "experiment", "git", "id", "idempotencyKey", "kind", "metrics": {NAME: [shape,
//    count, minimum, maximum]}, "outcome", "parent": ID, "priority", "properties": {}, "snapshot", "started", "status",
//    "statusReason", "submission"}
// What there is not is null. Digests are written down for good: a fact that is added later goes in only where it
// differs from what every older run has.
#pragma once

#include <cstdint>

#include "runner/core/content.hpp"
#include "store/digest.hpp"
#include "store/sqlite_handle.hpp"

namespace runner::store {

Hash digest_of_run(Connection& connection, const Sha256& sha256, std::int64_t seq);  // Error(kNotFound)

}  // namespace runner::store
