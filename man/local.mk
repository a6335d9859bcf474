dist_man_MANS += %D%/evfs.1 %D%/evfsctl.1 %D%/evfs-publisher.8
