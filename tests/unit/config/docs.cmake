# Pages that the build can check: man pages against the programs, docs/events.md against the table it is made from.
add_test(NAME unit/config/man COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/unit/config/man_check ${PROJECT_SOURCE_DIR}/docs/man
                                      $<TARGET_FILE:mansiod> $<TARGET_FILE:queuectl> $<TARGET_FILE:mailq>)
add_test(NAME unit/config/events
  COMMAND sh -c "'$<TARGET_FILE:events_md>' | diff -u '${PROJECT_SOURCE_DIR}/docs/events.md' - || { echo 'docs/events.md is old; run: cmake --build --preset dev --target docs'; exit 1; }")
set_tests_properties(unit/config/man unit/config/events PROPERTIES LABELS unit TIMEOUT 60)
