// The schema of runner.db as it is now, and the way to it from every earlier version.
#pragma once

#include "store/migrations.hpp"

namespace runner::store {

Schema history_schema();

}  // namespace runner::store
