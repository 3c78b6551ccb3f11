package adversary

var relays []attack
var senders []attack
