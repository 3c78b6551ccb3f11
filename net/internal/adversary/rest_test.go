package adversary

var readers []attack
var writers []attack
var admins []attack
var removed []attack
var relays []attack
var senders []attack
