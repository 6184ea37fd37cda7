# Python's email package, a reader that knows nothing of ours, decodes converted messages and compares them with the originals.
find_package(Python3 COMPONENTS Interpreter)
add_executable(smtp_convert_filter ${CMAKE_CURRENT_LIST_DIR}/convert_filter.c)
target_link_libraries(smtp_convert_filter PRIVATE mansio_smtp mansio_idna)
if(Python3_FOUND)
  add_test(NAME unit/smtp/convert_email
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/convert_email_check.py $<TARGET_FILE:smtp_convert_filter>)
  set_tests_properties(unit/smtp/convert_email PROPERTIES LABELS unit TIMEOUT 120)
endif()
