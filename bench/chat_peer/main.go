// A chat server on centrifuge, the engine that ours is compared with: one channel a client, with history and recovery.
//
// A client names its room when it connects and may publish there. Positions are on, JSON is spoken, clients are
// pinged as often as ours.
// CHAT_PEER_REDIS_URL is the Redis that carries messages; without it they stay in this process.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/centrifugal/centrifuge"
)

const (
	historySize    = 300
	historySeconds = 300
	pingSeconds    = 25
)

type options struct {
	listen string
	redis  string
	delay  time.Duration
}

func main() {
	chosen := options{redis: os.Getenv("CHAT_PEER_REDIS_URL")}
	flag.StringVar(&chosen.listen, "listen", "127.0.0.1:0", "address to serve /chat on")
	flag.DurationVar(&chosen.delay, "delay", 0, "how long a client's messages are gathered into one frame")
	flag.Parse()
	node, err := newNode(chosen)
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/chat", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin:                func(*http.Request) bool { return true },
		ReadBufferSize:             512,
		UseWriteBufferPool:         true,
		ProcessCommandsOffReadLoop: true,
		PingPongConfig:             centrifuge.PingPongConfig{PingInterval: pingSeconds * time.Second, PongTimeout: pingSeconds / 2 * time.Second},
	}))
	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	log.Fatal(http.ListenAndServe(chosen.listen, nil))
}

func newNode(chosen options) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	if chosen.redis != "" {
		if err := useRedis(node, chosen.redis); err != nil {
			return nil, err
		}
	}
	node.OnConnecting(func(_ context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		var wanted struct{ Room string }
		if err := json.Unmarshal(event.Data, &wanted); err != nil || wanted.Room == "" {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectBadRequest
		}
		subscription := centrifuge.SubscribeOptions{EnablePositioning: true, EnableRecovery: true}
		return centrifuge.ConnectReply{
			Credentials:        &centrifuge.Credentials{},
			Subscriptions:      map[string]centrifuge.SubscribeOptions{wanted.Room: subscription},
			WriteDelay:         chosen.delay,
			WriteWithTimer:     chosen.delay > 0,
			MaxMessagesInFrame: -1,
			ReplyWithoutQueue:  true,
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			keep := centrifuge.WithHistory(historySize, historySeconds*time.Second)
			answer(centrifuge.PublishReply{Options: published(keep)}, nil)
		})
	})
	return node, nil
}

func published(option centrifuge.PublishOption) centrifuge.PublishOptions {
	var all centrifuge.PublishOptions
	option(&all)
	return all
}

func useRedis(node *centrifuge.Node, address string) error {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: address})
	if err != nil {
		return err
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return err
	}
	node.SetBroker(broker)
	return nil
}
