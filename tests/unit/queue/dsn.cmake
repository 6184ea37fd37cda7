# Python's email package, a reader that knows nothing of ours, reads example notifications.
find_package(Python3 COMPONENTS Interpreter)
add_executable(queue_dsn_examples ${CMAKE_CURRENT_LIST_DIR}/dsn_examples.c)
target_link_libraries(queue_dsn_examples PRIVATE mansio_queue)
if(Python3_FOUND)
  add_test(NAME unit/queue/dsn_email
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/dsn_email_check.py $<TARGET_FILE:queue_dsn_examples>)
  set_tests_properties(unit/queue/dsn_email PROPERTIES LABELS unit TIMEOUT 60)
endif()
