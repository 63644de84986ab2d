# Ce qui se dit quelle que soit la commande.

command-unknown = cette commande n’existe plus ; redémarrez Discord
command-not-open = vous ne pouvez pas utiliser cette commande
command-too-soon = pas si vite ; patientez un instant
command-failed = désolé, quelque chose s’est mal passé. Si cela persiste, donnez cet identifiant au propriétaire du bot : { $id }

argument-wrong = { $wrong }. Utilisation : { $usage }
argument-missing = il manque « { $option } »
argument-open-quote = un guillemet n’est pas fermé
argument-too-many = « { $given } » est de trop
argument-text = « { $option } » attend un texte, pas « { $given } »
argument-integer = « { $option } » attend un nombre entier, pas « { $given } »
argument-bool = « { $option } » attend oui ou non, pas « { $given } »
argument-user = « { $option } » attend une personne, pas « { $given } »

unit-days = { $n } j
unit-hours = { $n } h
unit-minutes = { $n } min
unit-seconds = { $n } s
unit-milliseconds = { $n } ms
unit-mebibytes = { $n } Mio
