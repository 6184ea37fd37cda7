/* tls_pair: a certificate for mail.example.org with its key, and a key that is not its own. For tests: the keys are public. */
#ifndef MANSIO_TESTS_TLS_PAIR_H
#define MANSIO_TESTS_TLS_PAIR_H

static const char TLS_PAIR_CERTIFICATE[] = "-----BEGIN CERTIFICATE-----\n"
                                           "MIIBqjCCAVCgAwIBAgIUBlriaDChbkNB8OkQI27UcIw0kh0wCgYIKoZIzj0EAwIw\n"
                                           "GzEZMBcGA1UEAwwQbWFpbC5leGFtcGxlLm9yZzAgFw0yNjExMjEyMzE4MDVaGA8y\n"
                                           "MTI2MTAyODIzMTgwNVowGzEZMBcGA1UEAwwQbWFpbC5leGFtcGxlLm9yZzBZMBMG\n"
                                           "ByqGSM49AgEGCCqGSM49AwEHA0IABJ0xU48YT7VusQoIofFSLhu1cQ+XLl0MBdu9\n"
                                           "HoKkHGZz7cn4Ehkd4PRWjqWH19U1mUe9/dYV2skUabypZJ6ObX+jcDBuMB0GA1Ud\n"
                                           "DgQWBBTetOselmzRB9rREEiGBo66+eIHSzAfBgNVHSMEGDAWgBTetOselmzRB9rR\n"
                                           "EEiGBo66+eIHSzAPBgNVHRMBAf8EBTADAQH/MBsGA1UdEQQUMBKCEG1haWwuZXhh\n"
                                           "bXBsZS5vcmcwCgYIKoZIzj0EAwIDSAAwRQIhAOZ6mulNIBI6Wf8Mc+Iji8sQ+Hff\n"
                                           "A+g+6Ok2Cb5T/vhIAiArbgg7NrWm8+naJmicbQH9yeUcte+A7kZ48EuevUtnCA==\n"
                                           "-----END CERTIFICATE-----\n";

static const char TLS_PAIR_KEY[] = "-----BEGIN PRIVATE KEY-----\n"
                                   "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxgXzqnurGUb3lESI\n"
                                   "oYzBZLgnhpkW37i2hPBfcgF4KfOhRANCAASdMVOPGE+1brEKCKHxUi4btXEPly5d\n"
                                   "DAXbvR6CpBxmc+3J+BIZHeD0Vo6lh9fVNZlHvf3WFdrJFGm8qWSejm1/\n"
                                   "-----END PRIVATE KEY-----\n";

static const char TLS_PAIR_OTHER_KEY[] = "-----BEGIN PRIVATE KEY-----\n"
                                         "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+UmuCFdpF2aydYe8\n"
                                         "PjvS2ri6s88MDmlPorAlkomfH8ahRANCAAREOKg7lmy1tim+wsWvpjgT2F6ctZMV\n"
                                         "N8r6pIbnOWDsCUq4AxGFWXzehpnF7ceYoiBWdR5IfQpcHlXrp2xEq1O9\n"
                                         "-----END PRIVATE KEY-----\n";

#endif
