# What each command says. A command `x` has `x-description` (at most 100 characters, shown by Discord
# and by help) and `x-option-y` for each option `y`.

about-description = Which version of the bot this is
about-body = A self-hosted bot for communities on Discord and Twitch.
about-build = Version
about-instance = Instance
about-uptime = Running for
about-line = Vigie { $build } · { $instance } · running for { $uptime }

echo-description = Repeats a text
echo-option-text = What to repeat
echo-nothing = there is nothing in it that could be repeated

help-description = Shows what the bot can do
help-option-command = A command to explain
help-title = What I can do
help-more = More about one of them: { $usage }
help-line = { $commands } · more about one of them: { $example }
help-unknown = there is no command ‘{ $name }’

ping-description = Says whether the bot is there, and how fast
ping-pong = pong
ping-inbound = { $platform } → gateway { $time }
ping-bus = gateway → worker { $time }
ping-request = last request to { $platform } { $time }
ping-total = last answer in all { $time }

stats-description = Shows the figures of the whole bot
stats-title = Figures
stats-shards = Shards
stats-communities = Communities
stats-rate = Events per second
stats-memory = Memory
stats-ready = ready
stats-not-ready = not ready
stats-refresh = Refresh
stats-nobody = no service has answered; please try again
stats-line = shards: { $shards } · communities: { $communities } · { $rate } events/s · { $memory } ({ $services })

uptime-description = Tells how long the bot has been running
uptime-title = Running for
uptime-own = up for { $uptime }
uptime-youngest = Where several run, the youngest counts.
