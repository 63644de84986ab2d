# What each command says. A command `x` has `x-description` (at most 100 characters, shown by Discord
# and by help) and `x-option-y` for each option `y`.

about-description = Which version of the bot this is
about-body = A self-hosted bot for communities on Discord and Twitch.
about-build = Version
about-instance = Instance
about-uptime = Running for
about-line = Vigie { $build } · { $instance } · running for { $uptime }

backup-description = Saves everything now (for whoever runs the bot)

backups-description = Tells how backups stand (for whoever runs the bot)
backups-title = Backups
backups-good = last good backup { $ago }
backups-none = no good backup yet: { $command } makes one
backups-drill = Restored for a trial
backups-never = never
backups-proved = proved by a restore

deploys-description = Tells which version runs and what was rolled out (for whoever runs the bot)
deploys-title = Deploys
deploys-current = Runs
deploys-kept = Can go back to
deploys-failed = Failed, not tried again
deploys-none = nothing was rolled out yet
deploys-line = { $version } runs
deploys-rolled-out = rolled out
deploys-rolled-back = failed, rolled back
deploys-never-started = never started
deploys-rollback-failed = failed, and so did going back

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

rollback-description = Goes back to a version that ran well (for whoever runs the bot)
rollback-option-version = Which one, as deploys shows it; without it the one before
rollback-one = expected the name of one version, as deploys shows it

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

update-description = Rolls out the newest version (for whoever runs the bot)
update-option-force = Also when nothing is new

uptime-description = Tells how long the bot has been running
uptime-title = Running for
uptime-own = up for { $uptime }
uptime-youngest = Where several run, the youngest counts.
