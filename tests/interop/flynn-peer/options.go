// SPDX-License-Identifier: MIT

package main

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/flynn/noise"
)

const usage = `usage: flynn-peer listen|connect ADDR --protocol NAME --static HEX
                  [--remote HEX] [--psk HEX] [--prologue TEXT] [--mode stream|records]`

type options struct {
	listens bool
	addr    string
	config  noise.Config
	remote  []byte // nil: anybody
	records bool
}

var patterns = map[string]noise.HandshakePattern{
	"XX": noise.HandshakeXX, "IK": noise.HandshakeIK, "NK": noise.HandshakeNK, "KK": noise.HandshakeKK,
	"NN": noise.HandshakeNN,
}

var ciphers = map[string]noise.CipherFunc{"ChaChaPoly": noise.CipherChaChaPoly, "AESGCM": noise.CipherAESGCM}

var hashes = map[string]noise.HashFunc{
	"SHA256": noise.HashSHA256, "SHA512": noise.HashSHA512,
	"BLAKE2b": noise.HashBLAKE2b, "BLAKE2s": noise.HashBLAKE2s,
}

func key(name, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s wants 64 hexadecimal digits", name)
	}
	return key, nil
}

// parseProtocol makes of "Noise_XXpsk3_25519_AESGCM_SHA512" what the library wants to be told in pieces.
func parseProtocol(name string, config *noise.Config) error {
	parts := strings.Split(name, "_")
	if len(parts) != 5 || parts[0] != "Noise" || parts[2] != "25519" {
		return fmt.Errorf("%q is no protocol of Curve25519", name)
	}
	base, place, hasPsk := strings.Cut(parts[1], "psk")
	pattern, known := patterns[base]
	cipher, knownCipher := ciphers[parts[3]]
	hash, knownHash := hashes[parts[4]]
	if !known || !knownCipher || !knownHash {
		return fmt.Errorf("%q has a part that is not known here", name)
	}
	if hasPsk {
		n, err := strconv.Atoi(place)
		if err != nil || len(config.PresharedKey) == 0 {
			return fmt.Errorf("%q wants a pre-shared key, and a number for its place", name)
		}
		config.PresharedKeyPlacement = n
	} else {
		config.PresharedKey = nil
	}
	config.Pattern = pattern
	config.CipherSuite = noise.NewCipherSuite(noise.DH25519, cipher, hash)
	return nil
}

// publicOf makes the pair of a secret key: the library makes pairs of random bytes alone.
func publicOf(secret []byte) (noise.DHKey, error) {
	return noise.DH25519.GenerateKeypair(strings.NewReader(string(secret)))
}

func knows(messages []noise.MessagePattern) bool {
	for _, token := range messages {
		if token == noise.MessagePatternS {
			return true
		}
	}
	return false
}

func parseOptions(args []string) (*options, error) {
	if len(args) < 2 || (args[0] != "listen" && args[0] != "connect") {
		return nil, fmt.Errorf("%s", usage)
	}
	o := &options{listens: args[0] == "listen", addr: args[1]}
	flags := flag.NewFlagSet("flynn-peer", flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	protocol := flags.String("protocol", "", "the Noise protocol's name")
	static := flags.String("static", "", "our secret key")
	remote := flags.String("remote", "", "the public key that the peer must have")
	psk := flags.String("psk", "", "the pre-shared key")
	prologue := flags.String("prologue", "", "the prologue")
	mode := flags.String("mode", "stream", "stream or records")
	if err := flags.Parse(args[2:]); err != nil {
		return nil, err
	}
	if *mode != "stream" && *mode != "records" {
		return nil, fmt.Errorf("--mode is stream or records, not %q", *mode)
	}
	o.records = *mode == "records"
	secret, err := key("--static", *static)
	if err == nil && secret == nil {
		err = fmt.Errorf("--static is missing")
	}
	if err == nil {
		o.config.StaticKeypair, err = publicOf(secret)
	}
	if err == nil {
		o.remote, err = key("--remote", *remote)
	}
	if err == nil {
		o.config.PresharedKey, err = key("--psk", *psk)
	}
	if err == nil {
		err = parseProtocol(*protocol, &o.config)
	}
	if err != nil {
		return nil, err
	}
	o.config.Prologue = []byte(*prologue)
	o.config.Initiator = !o.listens
	before := o.config.Pattern.ResponderPreMessages
	if o.listens {
		before = o.config.Pattern.InitiatorPreMessages
	}
	if knows(before) {
		if o.remote == nil {
			return nil, fmt.Errorf("the pattern must know the peer's key beforehand")
		}
		o.config.PeerStatic = o.remote
	}
	return o, nil
}
