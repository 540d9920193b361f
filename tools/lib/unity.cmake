# With RUNNER_UNITY the files of a folder are compiled eight at once. Those listed here have a name in their anonymous namespace
# that another file of their folder has, too: they are compiled with each other, apart from the rest; and those of
# RUNNER_ALONE by themselves. A "redefinition" in a unity build: give one of the two a name that says more, share it, or add its
# file to the one list or the other.
set(RUNNER_APART
  runner/core/metrics
  runner/os/cgroup_usage
  runner/api/docker_arguments
  runner/api/metric_document
  runner/api/submission
  snapshot/checkout_directory
  snapshot/checkout_layer
  snapshot/checkout_record
  snapshot/code_diff
  snapshot/tree_builder
  envs/build_console
  envs/conda_client
  envs/conda_file
  envs/credentials
  envs/docker_ignore
  envs/pip_tool
  store/chunker
  store/database
  store/history_check
  store/history_schema
  store/metric_values
  runner/shim/last_look
  runner/exec/bundle
  runner/exec/place_checks
  runner/pipeline/curated_environments
  runner/pipeline/directory_check
  runner/pipeline/line_difference
  runner/pipeline/script_command
  runner/daemon/exec_session
  runner/daemon/routes_sql
  runner/cli/backup
  runner/cli/document
  runner/cli/event_file
  runner/cli/event_mirror
  runner/cli/history_arguments
  runner/cli/sql
  runner/cli/tensorboard
  runner/cli/env_show
  runner/cli/gc
  runner/cli/list
  runner/cli/log_display
  tests/unit/runner/os/file_test
  tests/unit/runner/api/docker_arguments_test
  tests/unit/runner/api/image_reference_test
  tests/unit/runner/api/submission_test
  tests/unit/snapshot/changing_test
  tests/unit/snapshot/checkouts_overlay_test
  tests/unit/snapshot/ignore_semantics_test
  tests/unit/snapshot/take_test
  tests/unit/envs/build_console_test
  tests/unit/envs/build_context_test
  tests/unit/store/content_check_test
  tests/unit/store/content_uses_test
  tests/unit/store/history_filters_test
  tests/unit/store/history_shapes_test
  tests/unit/store/parameters_test
  tests/unit/runner/exec/bundle_test
  tests/unit/runner/pipeline/admission_test
  tests/unit/runner/pipeline/environment_builds_test
  tests/unit/runner/pipeline/run_queue_test
  tests/unit/runner/pipeline/run_watch_test
  tests/unit/runner/cli/exec_stream_test
  tests/unit/runner/cli/invocation_test)
set(RUNNER_ALONE
  snapshot/walk
  envs/match_spec
  envs/dockerfile_text
  envs/requirement
  envs/requirements
  envs/site_packages
  store/content_check
  store/ledger_check
  store/run_digest
  runner/pipeline/backup
  runner/shim/records
  runner/cli/show
  tests/unit/envs/conda_build_test
  tests/unit/store/content_gc_test
  tests/unit/store/history_children_test
  tests/unit/store/history_update_test)

# runner_batches(TARGET): puts the sources of TARGET, which this directory has made, into batches.
function(runner_batches target)
  if(NOT RUNNER_UNITY)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${source})
    get_filename_component(batch ${name} DIRECTORY)
    string(REPLACE "/" "_" batch ${batch})
    string(REGEX REPLACE "\\.cpp$" "" name ${name})
    if(name IN_LIST RUNNER_ALONE)
      continue()
    elseif(name IN_LIST RUNNER_APART)
      string(APPEND batch _apart)
    endif()
    math(EXPR number "${count_${batch}} + 0")
    math(EXPR count_${batch} "${number} + 1")
    math(EXPR number "${number} / 8")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${batch}_${number})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
