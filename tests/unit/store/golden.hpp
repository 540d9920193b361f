// The golden history of the present schema: golden_test.cpp writes it, history_migration_test.cpp finds what the files
// of released schemas have.
#pragma once

#include <cstdint>
#include <filesystem>

#include "store/history.hpp"

namespace store_test {

// What came with schema 5 (and what earlier golden files lack): children, interactive runs, metrics of every shape,
// what scripts hand over, the ledger's entries of every kind, environments. The experiment is "tracking".
void write_tracking(runner::store::History& history);
void check_tracking(runner::store::History& history);
inline constexpr std::int64_t kTrackingEntries = 15;  // in the ledger

}  // namespace store_test
