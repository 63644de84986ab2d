# What is said whatever the command is.

command-unknown = I do not have this command any more; please reload your client
command-not-open = you may not use this command
command-too-soon = not so fast; please wait a moment
command-failed = sorry, that went wrong. If it stays so, tell the bot’s owner this id: { $id }

argument-wrong = { $wrong }. Usage: { $usage }
argument-missing = ‘{ $option }’ is missing
argument-open-quote = a quote does not end
argument-too-many = ‘{ $given }’ is too much
argument-text = ‘{ $option }’ takes a text, not ‘{ $given }’
argument-integer = ‘{ $option }’ takes a whole number, not ‘{ $given }’
argument-bool = ‘{ $option }’ takes yes or no, not ‘{ $given }’
argument-user = ‘{ $option }’ takes a person, not ‘{ $given }’

unit-days = { $n } d
unit-hours = { $n } h
unit-minutes = { $n } min
unit-seconds = { $n } s
unit-milliseconds = { $n } ms
unit-mebibytes = { $n } MiB
