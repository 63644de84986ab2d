# Ce que dit chaque commande. Une commande `x` a `x-description` (100 caractères au plus, montrés par
# Discord et par help) et `x-option-y` pour chaque option `y`.

about-description = Indique la version du bot
about-body = Un bot auto-hébergé pour les communautés Discord et Twitch.
about-build = Version
about-instance = Instance
about-uptime = En marche depuis
about-line = Vigie { $build } · { $instance } · en marche depuis { $uptime }

backup-description = Sauvegarde tout maintenant (pour qui héberge le bot)

backups-description = Dit où en sont les sauvegardes (pour qui héberge le bot)
backups-title = Sauvegardes
backups-good = dernière sauvegarde réussie { $ago }
backups-none = pas encore de sauvegarde réussie : { $command } en fait une
backups-drill = Restaurée à l’essai
backups-never = jamais
backups-proved = prouvée par une restauration

deploys-description = Dit quelle version tourne et ce qui a été déployé (pour qui héberge le bot)
deploys-title = Déploiements
deploys-current = En service
deploys-kept = Retour possible vers
deploys-failed = En échec, plus essayées
deploys-none = rien n’a encore été déployé
deploys-line = { $version } est en service
deploys-rolled-out = déployée
deploys-rolled-back = en échec, retour en arrière
deploys-never-started = jamais commencée
deploys-rollback-failed = en échec, et le retour aussi

echo-description = Répète un texte
echo-option-text = Ce qu’il faut répéter
echo-nothing = il n’y a rien à répéter là-dedans

help-description = Affiche ce que le bot sait faire
help-option-command = La commande à expliquer
help-title = Ce que je sais faire
help-more = Pour en savoir plus sur l’une d’elles : { $usage }
help-line = { $commands } · pour en savoir plus sur l’une d’elles : { $example }
help-unknown = il n’y a pas de commande « { $name } »

ping-description = Dit si le bot est là, et à quelle vitesse il répond
ping-pong = pong
ping-inbound = { $platform } → passerelle { $time }
ping-bus = passerelle → worker { $time }
ping-request = dernière requête vers { $platform } { $time }
ping-total = dernière réponse, en tout { $time }

rollback-description = Revient à une version qui marchait (pour qui héberge le bot)
rollback-option-version = Laquelle, comme deploys l’affiche ; sinon la précédente
rollback-one = il faut le nom d’une seule version, comme deploys l’affiche

stats-description = Affiche les statistiques de tout le bot
stats-title = Statistiques
stats-shards = Shards
stats-communities = Communautés
stats-rate = Événements par seconde
stats-memory = Mémoire
stats-ready = prêt
stats-not-ready = pas prêt
stats-refresh = Actualiser
stats-nobody = aucun service n’a répondu ; réessayez dans un instant
stats-line = shards : { $shards } · communautés : { $communities } · { $rate } événements/s · { $memory } ({ $services })

update-description = Déploie la version la plus récente (pour qui héberge le bot)
update-option-force = Même s’il n’y a rien de nouveau

uptime-description = Dit depuis combien de temps le bot est en marche
uptime-title = En marche depuis
uptime-own = en marche depuis { $uptime }
uptime-youngest = Quand un service tourne en plusieurs exemplaires, c’est le plus récent qui compte.
