import click,logging,signal,sys,threading
@click.group()
def main(): pass
@main.command()
@click.option("--name")
@click.option("--bundle")
@click.option("--cluster")
@click.option("--placement",default="boards")
@click.option("--slowdown",type=float)
@click.option("--until-stdin-closes",is_flag=True)
def board(name,bundle,cluster,placement,slowdown,until_stdin_closes):
    from keras_concurrent.board import Board
    from keras_concurrent.bundle import Bundle
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.transport import ZenohChannel
    from keras_concurrent.emulation import Stretch,Pacer
    c=Cluster.read(cluster); b=Bundle(bundle)
    p=b.placement(placement).programs[name]
    ch=ZenohChannel(name,c,tuple({s.receiver for s in p.sends}|{"client"}))
    bo=Board(name,b,placement,ch,stretch=Stretch(slowdown) if slowdown else None,pacer=Pacer(c.network) if slowdown else None)
    stop=threading.Event()
    signal.signal(signal.SIGTERM,lambda *a: stop.set())
    if until_stdin_closes:
        threading.Thread(target=lambda:(sys.stdin.buffer.read(),stop.set()),daemon=True).start()
    bo.serve(stop); ch.close()
