// `runner fsck`: verifies everything that is stored, and reads again what can be had.
#pragma once

#include "runner/api/store_document.hpp"
#include "runner/os/data_directory.hpp"
#include "runner/pipeline/gc.hpp"
#include "snapshot/checkouts.hpp"
#include "store/content_store.hpp"
#include "store/history.hpp"

namespace runner::pipeline {

struct FsckOptions {
  bool repair = false;
};

// Databases and what their rows say of each other, contents, the trees of every run's snapshot, artifacts, checkouts,
// run directories, built environments, stat caches. Works on the calling thread while others submit, end runs and
// collect garbage; what appears or vanishes meanwhile is no problem. With `repair` the report says of each problem
// whether it is one still. Nothing is written to a database whose structure is damaged, and no checkout is thrown away
// that the store cannot give again.
api::FsckReport check_everything(store::ContentStore& content, store::History& history, snapshot::Checkouts& checkouts,
                                 const os::DataDirectory& data, const FsckOptions& options, const Doing& doing);

}  // namespace runner::pipeline
